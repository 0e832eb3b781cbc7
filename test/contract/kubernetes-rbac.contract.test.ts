// The manifests for operators: what RBAC allows the daemon is what it asks for, no less and no more.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { paths } from "../../core/paths.ts";
import { silentLog } from "../../core/log.ts";
import { parseConfig } from "../../daemon/config.ts";
import { openKubernetes } from "../../daemon/source/open-kubernetes.ts";
import type { NodeStanding } from "../../daemon/source/source.ts";
import { parseYaml } from "../../daemon/yaml-file.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { type Rule, ruleAllows } from "../support/api-server/access.ts";
import type { ApiServer } from "../support/api-server/server.ts";
import { put, start, waiting } from "../support/api-source.ts";
import { nodeExample } from "../support/source-objects.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { writeFileSync } from "node:fs";

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

const rbac = manifestsOf("rbac.yaml");
const rules = rbac.flatMap(({ rules: found = [], metadata: { namespace } }) =>
  found.map((rule) => ({ ...rule, ...(namespace !== undefined && { namespace }) })),
);

/** All that a daemon does at the API, with these rights. */
async function liveWith(allowed: readonly Rule[]): Promise<ApiServer> {
  const server = await start({ rules: allowed });
  put(server, nodeExample("node-a", 1));
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
  expect(config.cluster.source).toEqual({ kind: "kubernetes" });
  const source = openKubernetes({
    config,
    source: { kind: "kubernetes", kubeconfig },
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

test("the daemon needs every right that it is given, and no other", async () => {
  const server = await liveWith(rules);
  const given = rules.flatMap((rule) =>
    rule.apiGroups.flatMap((group) =>
      rule.resources.flatMap((resource) =>
        rule.verbs.map((verb) => `${verb} ${resource}.${group}`),
      ),
    ),
  );
  const asked = () =>
    server.calls.map(({ verb, resource, group }) => `${verb} ${resource}.${group}`);
  await vi.waitFor(() => expect([...new Set(asked())].sort()).toEqual(given.sort()), waiting);
  const refused = server.calls.filter((call) => !rules.some((rule) => ruleAllows(rule, call)));
  expect(refused).toEqual([]);
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
