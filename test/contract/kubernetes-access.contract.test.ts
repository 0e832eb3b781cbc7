// Who may read the Kubernetes API, by what, and what a node goes by while it may not.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { readKubeconfig } from "../../daemon/kubernetes/kubeconfig.ts";
import type { Rule } from "../support/api-server/access.ts";
import { Refusal } from "../support/api-server/status.ts";
import {
  hasNodes,
  hasProblem,
  inSync,
  isWell,
  listsOf,
  nodes,
  open,
  put,
  remove,
  start,
  waiting,
} from "../support/api-source.ts";
import { quickTiming } from "../support/api-world.ts";
import {
  namespaceExample,
  nodeExample,
  podExample,
  serviceExample,
  sliceExample,
} from "../support/source-objects.ts";
import { type IssueOptions, makeAuthority } from "../support/certificates.ts";
import { temporaryDirectory } from "../support/temporary.ts";

describe("who may read", () => {
  const may = (...names: readonly string[]): Rule[] => [
    { apiGroups: ["*"], resources: names, verbs: ["list", "watch"] },
  ];

  test("a resource that is refused is named, and the rest goes on", async () => {
    const rules = may("nodes", "namespaces", "services", "pods");
    const server = await start({ rules });
    put(server, nodeExample("a", 1));
    const { source } = open(server);
    await hasNodes(source, "a");
    await hasProblem(
      source,
      `Cannot read endpointslices from ${server.url}: 403 endpointslices.discovery.k8s.io is forbidden: User "system:anonymous" cannot list resource`,
    );
    put(server, nodeExample("b", 2));
    await hasNodes(source, "a", "b");
    expect(source.state().snapshot.isInSync).toBe(false);
    server.rules = may("*");
    await inSync(source);
    await isWell(source);
    // Taken away again, what was read stays.
    put(server, sliceExample("web-1", "10.244.1.2"));
    await vi.waitFor(() => expect(source.state().snapshot.endpointSlices.size).toBe(1), waiting);
    server.rules = rules;
    server.watches.cut();
    await hasProblem(source, "Cannot read endpointslices");
    expect(source.state().snapshot).toMatchObject({ isInSync: true });
    expect(source.state().snapshot.endpointSlices.size).toBe(1);
  });

  test("a token that has ended is named, and the one that replaces it on the disk taken", async () => {
    const server = await start({ tokens: new Map([["one", "node"]]) });
    put(server, nodeExample("a", 1));
    const path = join(temporaryDirectory(), "token");
    writeFileSync(path, "one");
    const { source } = open(server, { access: { token: { kind: "file", path } } });
    await inSync(source);
    server.tokens = new Map([["two", "node"]]);
    server.watches.cut();
    await hasProblem(source, "401 Unauthorized");
    put(server, nodeExample("b", 2));
    writeFileSync(path, "two");
    await hasNodes(source, "a", "b");
    await isWell(source);
    expect(listsOf(server)).toBe(5);
  });

  test("a kubeconfig that is written anew is read again, and a broken one is not", async () => {
    const server = await start({ tokens: new Map([["one", "node"]]) });
    put(server, nodeExample("a", 1));
    const path = join(temporaryDirectory(), "kubeconfig");
    const write = (token: string): void =>
      writeFileSync(
        path,
        `{ current-context: a, contexts: [{ name: a, context: { cluster: a, user: a } }], clusters: [{ name: a, cluster: { server: "${server.url}" } }], users: [{ name: a, user: { token: ${token} } }] }`,
      );
    write("one");
    const reload = () => readKubeconfig(path);
    const { source } = open(server, { access: reload(), reload });
    await inSync(source);
    writeFileSync(path, "{ half");
    server.watches.cut();
    put(server, nodeExample("b", 2));
    await hasNodes(source, "a", "b");
    server.tokens = new Map([["two", "node"]]);
    server.watches.cut();
    await hasProblem(source, "401 Unauthorized");
    write("two");
    put(server, nodeExample("c", 3));
    await hasNodes(source, "a", "b", "c");
    await isWell(source);
  });

  test("a server that wants to be left alone is", async () => {
    const server = await start();
    let refusals = 0;
    server.fault = ({ resource }) => {
      if (resource !== "nodes" || refusals > 0) return;
      refusals++;
      throw new Refusal(429, "too many requests", { details: { retryAfterSeconds: 1 } });
    };
    const watch = { ...quickTiming.watch, mostMs: 5000 };
    const { source } = open(server, { timing: { ...quickTiming, watch } });
    const startedAt = performance.now();
    await hasProblem(source, "429 too many requests");
    await inSync(source);
    expect(performance.now() - startedAt).toBeGreaterThan(900);
  });
});

describe("TLS", () => {
  /** As texts. */
  const authority = () => {
    const made = makeAuthority(temporaryDirectory());
    return {
      ca: readFileSync(made.ca, "utf8"),
      sign: (name: string, options?: IssueOptions) => {
        const { cert, key } = made.issue(name, options);
        return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
      },
    };
  };

  test("an expired certificate of the server is named; what was read stays; a new one is taken", async () => {
    const ca = authority();
    const trusted = { access: { ca: { kind: "text", text: ca.ca } } } as const;
    const server = await start({ certificate: { ...ca.sign("server"), ca: ca.ca } });
    put(server, nodeExample("a", 1));
    const { source } = open(server, trusted);
    await inSync(source);
    server.useCertificate({ ...ca.sign("server", { days: -1 }), ca: ca.ca });
    await server.stop();
    await server.start();
    await hasProblem(source, "certificate has expired");
    expect(nodes(source)).toEqual(["a"]);
    put(server, nodeExample("b", 2));
    server.useCertificate({ ...ca.sign("server"), ca: ca.ca });
    await hasNodes(source, "a", "b");
    await isWell(source);
  });

  test("a server of another authority, or of another name, is not believed", async () => {
    const [ca, other] = [authority(), authority()];
    const certificate = { ...other.sign("server"), ca: ca.ca };
    const server = await start({ certificate });
    const { source } = open(server, { access: { ca: { kind: "text", text: ca.ca } } });
    await hasProblem(source, "certificate");
    server.useCertificate({ ...ca.sign("server", { subjectAltName: "DNS:elsewhere" }), ca: ca.ca });
    await hasProblem(source, "does not match certificate's altnames");
    const named = { ca: { kind: "text", text: ca.ca }, serverName: "elsewhere" } as const;
    const { source: second } = open(server, { access: named });
    await inSync(second);
    expect(source.state().snapshot.isInSync).toBe(false);
  });

  test("a client's certificate is shown, and taken anew when it was rotated", async () => {
    const ca = authority();
    const certificate = { ...ca.sign("server"), ca: ca.ca };
    const rules = [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }];
    const server = await start({ certificate, tokens: new Map(), rules });
    put(server, nodeExample("a", 1));
    const directory = temporaryDirectory();
    const [cert, key] = [join(directory, "cert"), join(directory, "key")];
    const show = (pair: { cert: string; key: string }): void => {
      writeFileSync(cert, pair.cert);
      writeFileSync(key, pair.key);
    };
    show(ca.sign("node-a", { days: -1 }));
    const { source } = open(server, {
      access: {
        ca: { kind: "text", text: ca.ca },
        certificate: { cert: { kind: "file", path: cert }, key: { kind: "file", path: key } },
      },
    });
    await hasProblem(source, "401 Unauthorized");
    show(ca.sign("node-a"));
    await inSync(source);
    expect(new Set(server.calls.map(({ user }) => user))).toEqual(new Set(["node-a"]));
  });
});

describe("the cluster's copy", () => {
  test("serves while the API is away, and gives way to what the API says", async () => {
    const server = await start();
    const copyPath = join(temporaryDirectory(), "state", "cluster.jsonl");
    const all = [
      nodeExample("a", 1),
      namespaceExample("demo", "db"),
      serviceExample("web", 80),
      sliceExample("web-1", "10.244.1.2"),
      podExample("web-1", "10.244.1.2"),
    ];
    put(server, ...all, nodeExample("b", 2));
    const { source: first } = open(server, { copyPath });
    await inSync(first);
    const { snapshot } = first.state();
    await vi.waitFor(() => expect(readFileSync(copyPath, "utf8")).toContain('{"end":6}'), waiting);
    first[Symbol.dispose]();
    await server.stop();
    const { source } = open(server, { copyPath });
    await hasNodes(source, "a", "b");
    const { revision: _, isInSync: __, ...objects } = snapshot;
    expect(source.state().snapshot).toMatchObject({ ...objects, isRemembered: true });
    expect(source.state().snapshot.isInSync).toBe(false);
    await hasProblem(source, "The cluster is as this node knew it at ");
    await hasProblem(source, "ECONNREFUSED");
    remove(server, nodeExample("b", 2));
    put(server, nodeExample("c", 3));
    await server.start();
    await inSync(source);
    expect(nodes(source)).toEqual(["a", "c"]);
    expect(source.state().snapshot.isRemembered).toBeUndefined();
    await isWell(source);
  });

  test.each([
    ["half a copy", (text: string) => text.slice(0, -20), "it is not whole"],
    [
      "a copy that lacks a line",
      (text: string) => text.split("\n").toSpliced(1, 1).join("\n"),
      "it is not whole",
    ],
    ["a copy of another cluster", (text: string) => text.replace(/:\d+"/, ':1"'), "it is of http"],
    ["nonsense", () => "nonsense", "it is not whole"],
  ])("%s is named and not used", async (_, damage, message) => {
    const server = await start();
    const path = join(temporaryDirectory(), "cluster.jsonl");
    put(server, nodeExample("a", 1));
    const { source: first } = open(server, { copyPath: path });
    await vi.waitFor(() => expect(readFileSync(path, "utf8")).toContain('{"end":1}'), waiting);
    first[Symbol.dispose]();
    await server.stop();
    writeFileSync(path, damage(readFileSync(path, "utf8")));
    const { source } = open(server, { copyPath: path });
    await hasProblem(source, message);
    expect(nodes(source)).toEqual([]);
    await server.start();
    await inSync(source);
  });
});
