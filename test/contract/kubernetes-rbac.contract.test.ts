// The manifests for operators: what RBAC allows the daemon is what it asks for, no less and no more.
import { readFileSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { paths } from "../../core/paths.ts";
import { parseConfig } from "../../daemon/config/config.ts";
import { parseYaml } from "../../daemon/files/yaml-file.ts";
import { openKubernetes } from "../../daemon/kubernetes/open-kubernetes.ts";
import type { NodeStanding } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { type Rule, ruleAllows } from "../support/api-server/access.ts";
import type { ApiServer } from "../support/api-server/server.ts";
import { put, start, waiting } from "../support/api-source.ts";
import { nodeExample } from "../support/source-objects.ts";
import { temporaryDirectory } from "../support/temporary.ts";

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { kind: string; name: string; namespace: string }[];
  readonly data?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

const directory = join(import.meta.dirname, "../../conf/kubernetes");
function manifestsOf(file: string): readonly Manifest[] {
  const { documents, problems } = parseYaml(readFileSync(join(directory, file), "utf8"));
  expect(problems).toEqual([]);
  return documents.map(({ value }) => value as Manifest);
}

const rulesOf = (manifests: readonly Manifest[]): readonly Rule[] =>
  manifests.flatMap(({ rules: found = [], metadata: { namespace } }) =>
    found.map((rule) => ({ ...rule, ...(namespace !== undefined && { namespace }) })),
  );
const rbac = manifestsOf("rbac.yaml");
const rules = rulesOf(rbac);
const allocation = rulesOf(manifestsOf("allocate-pod-cidrs.yaml"));

/** All that a daemon does at the API, with these rights. */
async function liveWith(
  allowed: readonly Rule[],
  { allocatePodCidrs = false } = {},
): Promise<ApiServer> {
  const server = await start({ rules: allowed });
  const { object } = nodeExample("node-a", 1);
  put(server, { object: allocatePodCidrs ? { ...object, spec: {} } : object });
  const kubeconfig = join(temporaryDirectory(), "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      "current-context": "a",
      contexts: [{ name: "a", context: { cluster: "a", user: "a" } }],
      clusters: [{ name: "a", cluster: { server: server.url } }],
      users: [{ name: "a" }],
    }),
  );
  const [configMap] = manifestsOf("configmap.yaml");
  const config = parseConfig(configMap!.data!["fairlead.yaml"]!, "configmap", {
    nodeName: "node-a",
  });
  expect(config.cluster.source).toMatchObject({ kind: "kubernetes" });
  const source = openKubernetes({
    config,
    source: { kind: "kubernetes", kubeconfig, allocatePodCidrs },
    paths: { ...paths, clusterCopy: join(temporaryDirectory(), "copy") },
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  const problems = [{ area: "kernel" as const, message: "Cannot write a route" }];
  const standing = (): NodeStanding => ({ isReady: true, problems });
  const timing = {
    everyMs: 10,
    firstMs: 10,
    mostMs: 20,
    events: { lastingMs: 0, againMs: 60_000, most: 1, windowMs: 60_000 },
  };
  const telling = source.tell!(standing, timing);
  onTestFinished(() => {
    telling[Symbol.dispose]();
    source[Symbol.dispose]();
  });
  return server;
}

const callsOf = (allowed: readonly Rule[]): readonly string[] =>
  allowed
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}.${group}`)),
      ),
    )
    .sort();

const asked = ({ calls }: ApiServer): readonly string[] =>
  [...new Set(calls.map(({ verb, resource, group }) => `${verb} ${resource}.${group}`))].sort();
const refused = ({ calls }: ApiServer, allowed: readonly Rule[]) =>
  calls.filter((call) => !allowed.some((rule) => ruleAllows(rule, call)));

test("the daemon needs every right that it is given, and no other", async () => {
  const server = await liveWith(rules);
  await vi.waitFor(() => expect(asked(server)).toEqual(callsOf(rules)), waiting);
  expect(refused(server, rules)).toEqual([]);
});

test("a daemon that gives pod CIDRs needs those rights too, and may take a claim back", async () => {
  const all = [...rules, ...allocation];
  const server = await liveWith(all, { allocatePodCidrs: true });
  // A name that cannot be told is looked for, and an empty block would be given back: not in this life.
  const rare = ["get leases.coordination.k8s.io", "delete leases.coordination.k8s.io"];
  const usual = callsOf(all).filter((call) => !rare.includes(call));
  await vi.waitFor(() => {
    expect(asked(server).filter((call) => !rare.includes(call))).toEqual(usual);
  }, waiting);
  expect(refused(server, all)).toEqual([]);
});

test("the rights are bound to the account that the daemons run as", () => {
  const [account] = rbac.filter(({ kind }) => kind === "ServiceAccount");
  const { name, namespace } = account!.metadata;
  const roles = rbac.filter(({ kind }) => kind.endsWith("Role"));
  for (const role of roles) {
    const binding = rbac.find(({ roleRef }) => roleRef?.name === role.metadata.name);
    expect(binding).toMatchObject({
      kind: `${role.kind}Binding`,
      roleRef: { kind: role.kind },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    });
    expect(binding!.metadata.namespace).toBe(role.metadata.namespace);
  }
  expect(roles).toHaveLength(2);
  const [daemonSet] = manifestsOf("daemonset.yaml");
  expect(daemonSet).toMatchObject({
    metadata: { namespace },
    spec: { template: { spec: { serviceAccountName: name, hostNetwork: true, hostPID: true } } },
  });
  const text = JSON.stringify(daemonSet);
  for (const path of [paths.run, paths.state, paths.cniConfDir, paths.cniBinDir]) {
    expect(text).toContain(`"mountPath":"${path}"`);
  }
});
