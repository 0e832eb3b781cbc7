import { afterAll, beforeAll, expect, test } from "vitest";
import { EtcdClient } from "../../daemon/etcd/client.ts";
import { openEtcdClaims } from "../../daemon/etcd/claim-store.ts";
import { describeClaimStore } from "../support/claim-store-contract.ts";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";

let server: EtcdServer;
const clients: EtcdClient[] = [];
let stores = 0;

beforeAll(async () => {
  server = await startEtcd();
});
afterAll(async () => {
  for (const client of clients) client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function newClient(): EtcdClient {
  const client = new EtcdClient({ endpoints: [server.endpoint] });
  clients.push(client);
  return client;
}

describeClaimStore("etcd", () => {
  const prefix = `/store-${stores++}/`;
  return { open: () => openEtcdClaims(newClient(), prefix) };
});

test("etcd as a store of claims has each claim once in a list of many pages", async () => {
  const store = openEtcdClaims(newClient(), "/many/");
  const signal = AbortSignal.timeout(30_000);
  const keys = Array.from({ length: 2500 }, (_, i) => `blocks/${String(i).padStart(5, "0")}`);
  for (let at = 0; at < keys.length; at += 100) {
    await Promise.all(keys.slice(at, at + 100).map((key) => store.create(key, "x", signal)));
  }
  expect((await store.list("blocks/", signal)).map(({ key }) => key)).toEqual(keys);
});

test("etcd as a store of claims refuses a revision that is none", async () => {
  const store = openEtcdClaims(newClient(), "/none/");
  const signal = AbortSignal.timeout(30_000);
  await store.create("k", "v", signal);
  for (const revision of ["", "0", "-1", "x", "1x", "99999999999999999999"]) {
    expect(await store.replace({ key: "k", value: "w", revision }, signal)).toEqual({
      kind: "conflict",
    });
    expect(await store.remove("k", revision, signal)).toEqual({ kind: "conflict" });
  }
});
