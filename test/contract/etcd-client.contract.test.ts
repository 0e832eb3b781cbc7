import { createServer, type ServerHttp2Session } from "node:http2";
import { expect, onTestFinished, test, vi } from "vitest";
import { EtcdClient, EtcdError, type EtcdSettings, hastyTiming } from "../../daemon/etcd/client.ts";
import { type EtcdServer, startEtcd, untilAnswered } from "../support/etcd.ts";

const timing = { connectMs: 2000, callMs: 1000, pingEveryMs: 0 };
const waiting = { timeout: 30_000, interval: 20 };

async function started(): Promise<EtcdServer> {
  const server = await startEtcd();
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

function clientOf(settings: EtcdSettings): EtcdClient {
  const client = new EtcdClient(settings, timing);
  onTestFinished(() => client[Symbol.dispose]());
  return client;
}

/** Speaks HTTP/2 and answers nothing, as a member that has lost the others. */
async function silentServer(): Promise<string> {
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream) => stream.on("error", () => {}));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return `http://127.0.0.1:${address.port}`;
}

const soon = (): AbortSignal => AbortSignal.timeout(30_000);

test("a client goes to the next endpoint when one is not there, or falls silent", async () => {
  const [first, second] = [await started(), await started()];
  await clientOf({ endpoints: [first.endpoint] }).transact([], [put("/k", "first")], soon());
  await clientOf({ endpoints: [second.endpoint] }).transact([], [put("/k", "second")], soon());
  const client = clientOf({ endpoints: ["http://127.0.0.1:1", first.endpoint, second.endpoint] });
  const valueOf = async () => (await client.get("/k", soon()))?.value;
  expect(await valueOf()).toBe("first");
  await first.pause();
  expect(await valueOf()).toBe("second");
  first.continue();
  await second.kill();
  expect(await valueOf()).toBe("first");
});

test("a client says of each endpoint why it is not used", async () => {
  const client = clientOf({ endpoints: ["http://127.0.0.1:1", "http://127.0.0.1:2"] });
  await expect(client.get("/k", soon())).rejects.toThrow(
    /^Cannot reach etcd at http:\/\/127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1; http:\/\/127.0.0.1:2: connect ECONNREFUSED/,
  );
});

test("a client names every endpoint that takes a question and does not answer", async () => {
  const endpoints = [await silentServer(), await silentServer(), await silentServer()];
  const client = clientOf({ endpoints });
  const failure: unknown = await client.get("/k", soon()).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(EtcdError);
  for (const endpoint of endpoints) expect(String(failure)).toContain(`etcd at ${endpoint}: `);
});

test("a client that is in a hurry shares its time among the endpoints", () => {
  const endpoints = ["http://a:1", "http://b:1", "http://c:1", "http://d:1"];
  expect(hastyTiming({ endpoints }, 5000)).toMatchObject({ connectMs: 1250, callMs: 1250 });
});

test("a client gives up when it is told to", async () => {
  const server = await started();
  const client = clientOf({ endpoints: [server.endpoint] });
  await client.get("/k", soon());
  await server.pause();
  await expect(client.get("/k", AbortSignal.timeout(50))).rejects.toThrow("timeout");
  server.continue();
});

test("a write is all or nothing, on its conditions", async () => {
  const server = await started();
  const client = clientOf({ endpoints: [server.endpoint] });
  const absent = [{ key: "/a", modRevision: 0n }];
  expect((await client.transact(absent, [put("/a", "1"), put("/b", "1")], soon())).isDone).toBe(
    true,
  );
  expect((await client.transact(absent, [put("/b", "2")], soon())).isDone).toBe(false);
  expect((await client.get("/b", soon()))?.value).toBe("1");
});

test("a watch gives each change in its order, from a revision on, and ends with the connection", async () => {
  const server = await started();
  const client = clientOf({ endpoints: [server.endpoint] });
  const { header } = await client.transact([], [put("/x/a", "old")], soon());
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { events } of client.watch("/x/", header.revision + 1n, soon())) {
      for (const event of events) {
        seen.push(event.kind === "put" ? `${event.entry.key}=${event.entry.value}` : event.key);
      }
    }
  })();
  await client.transact([], [put("/x/b", "1"), put("/y", "no")], soon());
  await client.transact([], [{ kind: "delete", key: "/x/a" }], soon());
  await vi.waitFor(() => expect(seen).toEqual(["/x/b=1", "/x/a"]), waiting);
  await Promise.all([expect(watching).rejects.toThrow("etcd at"), server.kill()]);
});

test("a lease is kept while it is asked for, and takes its keys with it", async () => {
  const server = await started();
  const client = clientOf({ endpoints: [server.endpoint] });
  const lease = await client.grantLease(2, soon());
  await client.transact([], [{ ...put("/k", "v"), lease }], soon());
  expect(await client.keepLease(lease, soon())).toBe(true);
  await client.revokeLease(lease, soon());
  expect(await client.keepLease(lease, soon())).toBe(false);
  expect(await client.get("/k", soon())).toBeUndefined();
  const short = await client.grantLease(1, soon());
  await client.transact([], [{ ...put("/k", "v"), lease: short }], soon());
  await vi.waitFor(async () => expect(await client.get("/k", soon())).toBeUndefined(), waiting);
});

test("a client goes on with the same server when it has come back", async () => {
  const server = await started();
  const client = clientOf({ endpoints: [server.endpoint] });
  await client.transact([], [put("/k", "v")], soon());
  await server.kill();
  await expect(client.get("/k", soon())).rejects.toThrow("etcd at");
  await server.start();
  await untilAnswered(() => client.get("/k", soon()));
  expect((await client.get("/k", soon()))?.value).toBe("v");
});

const put = (key: string, value: string) => ({ kind: "put", key, value }) as const;
