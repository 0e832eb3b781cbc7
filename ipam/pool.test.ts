import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { addressesOf, callIpam, printed, set } from "../test/ipam/ipam-call.ts";
import { type DataDir, createDataDir } from "../test/ipam/lease-directory.ts";
import { cidr } from "../test/support/builders.ts";
import type { RangeFacts } from "./assign.ts";

let data: DataDir;
beforeEach(() => void (data = createDataDir()));
afterEach(() => data[Symbol.dispose]());

describe("ADD and STATUS with pools", () => {
  const facts = (): RangeFacts => ({
    nodeName: "node-a",
    network: "mynet",
    podCidrs: [cidr("10.244.3.0/29"), cidr("10.250.3.0/29"), cidr("fd00:3::/64")],
    pools: [
      { name: "db", cidrs: [cidr("10.250.0.0/16")] },
      { name: "edge", cidrs: [cidr("10.251.0.0/16")] },
    ],
    namespacePools: { shop: "db", typo: "bd" },
    podPools: { "shop/web": "default", "demo/far": "edge" },
  });
  const given = async (pod: string, ipam: object = {}) => {
    const [namespace, name] = pod.split("/");
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`;
    const reply = await callIpam(data, { facts, args, container: `${namespace}-${name}`, ipam });
    return reply.exitStatus === 0 ? addressesOf(reply) : printed(reply);
  };

  test("gives those that pod, namespace or configuration choose, in this order", async () => {
    expect(await given("demo/any")).toEqual(["10.244.3.2/29", "fd00:3::2/64"]);
    expect(await given("shop/cart")).toEqual(["10.250.3.2/29"]);
    expect(await given("shop/web", { pool: "db" })).toEqual(["10.244.3.3/29", "fd00:3::3/64"]);
    expect(await given("demo/other", { pool: "db" })).toEqual(["10.250.3.3/29"]);
  });

  test("names the pool that an address was asked of, and its bounds", async () => {
    const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=x;IP=10.244.3.4";
    const reply = await callIpam(data, { facts, args, container: "x" });
    expect(printed(reply)).toMatchObject({
      code: 7,
      msg: expect.stringContaining('pool "db" (10.250.3.1-10.250.3.6 of 10.250.3.0/29)'),
    });
  });

  test("goes round each pool by itself", async () => {
    const release = (container: string) =>
      callIpam(data, { command: "DEL", facts, container, ipam: { quarantineSeconds: 0 } });
    const round = (pod: string) => given(pod, { quarantineSeconds: 0 });
    expect(await round("shop/a")).toEqual(["10.250.3.2/29"]);
    expect(await round("demo/a")).toEqual(["10.244.3.2/29", "fd00:3::2/64"]);
    await release("shop-a");
    await release("demo-a");
    expect(await round("shop/b")).toEqual(["10.250.3.3/29"]);
    expect(await round("demo/b")).toEqual(["10.244.3.3/29", "fd00:3::3/64"]);
    const places = Object.keys(data.files()).filter((name) => name.startsWith("last"));
    expect(places.sort()).toEqual([
      "last_reserved_ip.0",
      "last_reserved_ip.1",
      "last_reserved_ip.10",
    ]);
  });

  test("names an unknown pool and those there are, and what a node lacks", async () => {
    expect(await given("typo/x")).toMatchObject({
      code: 7,
      msg: 'Cannot give addresses of pool "bd" (for pods of Namespace typo): expected default, db or edge',
    });
    expect(await given("demo/far")).toMatchObject({
      code: 100,
      msg: 'Cannot give addresses of pool "edge" (annotation fairlead.dev/pool of Pod demo/far): node "node-a" has no block of it; "fairlead ipam assign --node node-a --pool edge" gives it one',
    });
    const both = { pool: "db", ranges: [set("10.9.0.0/24")] };
    expect(await given("demo/any", both)).toMatchObject({
      code: 7,
      msg: 'Invalid ipam.pool "db": expected no ranges beside it',
    });
  });

  test("serves while one pool of the node has addresses left", async () => {
    const status = async (ipam: object = {}): Promise<unknown> => {
      const reply = await callIpam(data, { command: "STATUS", facts, ipam });
      return reply.exitStatus === 0 ? 0 : printed(reply);
    };
    for (let i = 0; i < 5; i++) await given(`shop/${i}`);
    expect(await status()).toBe(0);
    expect(await status({ pool: "db" })).toMatchObject({ code: 50 });
    for (let i = 0; i < 5; i++) await given(`demo/${i}`);
    expect(await status()).toMatchObject({ code: 50 });
  });
});
