// What only etcd has: compaction, logins, certificates, keys that do not fit what is in them.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { EtcdClient, type EtcdSettings } from "../../daemon/etcd/client.ts";
import { openEtcdSource } from "../../daemon/etcd/etcd-source.ts";
import { attachmentObject } from "../../daemon/source/attachment-object.ts";
import type { Source } from "../../daemon/source/source.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import { ip } from "../support/builders.ts";
import { makeAuthority } from "../support/certificates.ts";
import { openRelay } from "../support/etcd-world.ts";
import {
  type EtcdServer,
  type EtcdServerOptions,
  startEtcd,
  untilAnswered,
} from "../support/etcd.ts";
import { namespaceExample, nodeExample } from "../support/source-objects.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const waiting = { timeout: 30_000, interval: 10 };
const retry = { firstMs: 10, mostMs: 100 };
const timing = { connectMs: 2000, callMs: 2000, pingEveryMs: 0 };

async function started(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const server = await startEtcd(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

function sourceOf(settings: EtcdSettings, copyPath?: string): Source {
  const client = new EtcdClient(settings, timing);
  const source = openEtcdSource({
    client,
    prefix: "/fairlead",
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    retry,
    copy: { firstMs: 10, afterMs: 10, pauseFactor: 1, readAfterMs: 100 },
    ...(copyPath !== undefined && { copyPath }),
  });
  onTestFinished(() => {
    source[Symbol.dispose]();
    client[Symbol.dispose]();
  });
  return source;
}

function etcdctl(server: EtcdServer, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(
    "etcdctl",
    [`--endpoints=${server.endpoint}`, ...args],
    { encoding: "utf8", env: { ...process.env, ETCDCTL_API: "3" } },
  );
  if (status !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

const putObject = (server: EtcdServer, key: string, object: object): string =>
  etcdctl(server, "put", `/fairlead/objects/${key}`, JSON.stringify(object));

const isInSync = (source: Source): Promise<void> =>
  vi.waitFor(() => expect(source.state().snapshot.isInSync).toBe(true), waiting);
const hasProblem = (source: Source, part: string | RegExp): Promise<void> =>
  vi.waitFor(() => expect(source.state().problems.join("\n")).toMatch(part), waiting);
const has = (source: Source, ...nodes: readonly string[]): Promise<void> =>
  vi.waitFor(
    () => expect([...source.state().snapshot.nodes.keys()].sort()).toEqual(nodes),
    waiting,
  );

test("an etcd source reads all anew when etcd has forgotten what came meanwhile", async () => {
  const server = await started();
  for (const [at, name] of ["node-a", "node-b"].entries()) {
    putObject(server, `Node/${name}`, nodeExample(name, at + 1).object);
  }
  const relay = await openRelay(Number(new URL(server.endpoint).port));
  onTestFinished(() => relay[Symbol.dispose]());
  const source = sourceOf({ endpoints: [relay.endpoint] });
  await isInSync(source);
  relay.cut();
  await hasProblem(source, "what was read last stays in force");
  etcdctl(server, "del", "/fairlead/objects/Node/node-a");
  putObject(server, "Node/node-c", nodeExample("node-c", 3).object);
  const { header } = JSON.parse(
    etcdctl(server, "get", "/fairlead/objects/Node/node-c", "--write-out=json"),
  ) as { header: { revision: number } };
  etcdctl(server, "compaction", String(header.revision));
  const seen: number[] = [];
  source.subscribe(({ snapshot }) => seen.push(snapshot.nodes.size));
  await relay.mend();
  await has(source, "node-b", "node-c");
  expect(seen).not.toContain(0);
  putObject(server, "Node/node-d", nodeExample("node-d", 4).object);
  await has(source, "node-b", "node-c", "node-d");
});

test("an etcd source that starts while etcd is away has what it knew, and then what etcd has", async () => {
  const server = await started();
  putObject(server, "Node/node-a", nodeExample("node-a", 1).object);
  putObject(server, "Node/node-b", nodeExample("node-b", 2).object);
  const attachment = {
    id: "0123456789ab.node-b",
    nodeName: "node-b",
    network: "fairlead",
    addresses: [ip("10.244.2.2")],
    aliases: ["db"],
  };
  putObject(server, `Attachment/${attachment.id}`, attachmentObject(attachment));
  const copyPath = join(temporaryDirectory(), "cluster.jsonl");
  const first = sourceOf({ endpoints: [server.endpoint] }, copyPath);
  await isInSync(first);
  await vi.waitFor(() => expect(readFileSync(copyPath, "utf8")).toContain(attachment.id), waiting);
  const { nodes, attachments } = first.state().snapshot;
  first[Symbol.dispose]();
  await server.kill();
  const second = sourceOf({ endpoints: [server.endpoint] }, copyPath);
  await hasProblem(second, /\(the cluster is as this node knew it at 20\d\d-/);
  expect(second.state().snapshot).toMatchObject({ isInSync: false, isRemembered: true });
  expect(second.state().snapshot.nodes).toEqual(nodes);
  expect(second.state().snapshot.attachments).toEqual(attachments);
  await server.start();
  etcdctl(server, "del", "/fairlead/objects/Node/node-a");
  await has(second, "node-b");
  await isInSync(second);
  expect(second.state().snapshot).not.toHaveProperty("isRemembered");
  expect(second.state().problems).toEqual([]);
});

test("an etcd source names what is no object, and what is another than its key says", async () => {
  const server = await started();
  putObject(server, "Node/node-a", nodeExample("node-b", 1).object);
  etcdctl(server, "put", "/fairlead/objects/Node/node-c", "{ no JSON");
  putObject(server, "Namespace/demo", namespaceExample("demo").object);
  etcdctl(server, "put", "/fairlead/objects/nobody//knows/what", "x");
  const source = sourceOf({ endpoints: [server.endpoint] });
  await hasProblem(source, "Cannot use Node node-a: it says that it is Node node-b");
  await hasProblem(source, "Cannot use Node node-c: expected a Kubernetes object as JSON");
  expect([...source.state().snapshot.namespaces.keys()]).toEqual(["demo"]);
  expect(source.state().snapshot.isInSync).toBe(false);
});

test("an etcd source logs in, names a wrong password, and takes the right one when it is there", async () => {
  const server = await started();
  putObject(server, "Node/node-a", nodeExample("node-a", 1).object);
  etcdctl(server, "user", "add", "root:secret");
  etcdctl(server, "auth", "enable");
  const passwordFile = join(temporaryDirectory(), "password");
  writeFileSync(passwordFile, "wrong\n");
  const settings = { endpoints: [server.endpoint], user: "root", passwordFile };
  const nobody = sourceOf({ endpoints: [server.endpoint] });
  await hasProblem(nobody, "user name is empty");
  const source = sourceOf(settings);
  await hasProblem(source, /cannot log in as "root": etcdserver: authentication failed/);
  expect(source.state().problems.join()).not.toContain("wrong");
  writeFileSync(passwordFile, "secret\n");
  await isInSync(source);
  await has(source, "node-a");
  expect(source.state().problems).toEqual([]);
});

test("an etcd source uses certificates, and names one that has expired", async () => {
  const directory = temporaryDirectory();
  const authority = makeAuthority(directory);
  const { ca } = authority;
  const own = authority.issue("server");
  const client = authority.issue("client");
  const server = await started({
    scheme: "https",
    args: [
      `--cert-file=${own.cert}`,
      `--key-file=${own.key}`,
      `--trusted-ca-file=${ca}`,
      "--client-cert-auth",
    ],
    isUp: async (endpoint) => {
      using probe = new EtcdClient({ endpoints: [endpoint], ca, ...client }, timing);
      await untilAnswered(() => probe.get("none", AbortSignal.timeout(30_000)));
    },
  });
  const endpoints = [server.endpoint];
  await isInSync(sourceOf({ endpoints, ca, ...client }));
  await hasProblem(sourceOf({ endpoints, ...client }), /unable to|self-signed/);
  await hasProblem(sourceOf({ endpoints, ca }), /127.0.0.1:\d+: ssl.tls alert bad certificate /);
  const expired = authority.issue("expired", { days: -1 });
  const source = sourceOf({ endpoints, ca, ...expired });
  await hasProblem(source, /the certificate .*expired\.pem expired at 20/);
  // Renewed in its place.
  const renewed = authority.issue("expired");
  expect(renewed).toEqual(expired);
  await isInSync(source);
});

test("an etcd source names a certificate of the server that has expired", async () => {
  const authority = makeAuthority(temporaryDirectory());
  const own = authority.issue("server", { days: -1 });
  const server = await started({
    scheme: "https",
    args: [`--cert-file=${own.cert}`, `--key-file=${own.key}`],
    isUp: async (endpoint) => {
      using probe = new EtcdClient({ endpoints: [endpoint], ca: authority.ca }, timing);
      await vi.waitFor(
        () => expect(probe.get("none", AbortSignal.timeout(30_000))).rejects.toThrow("certificate"),
        waiting,
      );
    },
  });
  const source = sourceOf({ endpoints: [server.endpoint], ca: authority.ca });
  await hasProblem(source, "certificate has expired");
});
