// Requests that mean harm, or that nobody thought of: each ends in an error of the specification, holds up
// nobody and leaves nothing.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ChainNode, build, openChainNode, pluginPath } from "./chain-node.ts";

let lab: ChainNode;
beforeAll(async () => {
  build();
  lab = await openChainNode();
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(() => lab.expectClean());

const chainOf = (ipam: object, version = "1.0.0") =>
  lab.chainOf([{ type: "fairlead", ipam }], { version, pluginPath });

const ranges = [[{ subnet: "10.7.0.0/24" }]];

describe("a file that a request names", () => {
  test("dataDir: where no directory can be made is an error", async () => {
    const chain = chainOf({ dataDir: "/proc/fairlead", ranges });
    const { error } = await chain.run("ADD");
    expect(error).toMatchObject({ code: 5, msg: expect.stringContaining("/proc/fairlead") });
    await chain.pass("DEL");
  });

  test("dataDir: none for the node's blocks, whose leases are elsewhere", async () => {
    const { error } = await chainOf({ dataDir: "/run/leases" }).run("ADD");
    expect(error).toMatchObject({ code: 7, msg: expect.stringContaining("/var/lib/cni/networks") });
  });

  test("dataDir: a relative one would be another one without the daemon", async () => {
    const { error } = await chainOf({ dataDir: "leases" }).run("ADD");
    expect(error).toMatchObject({ code: 7, msg: expect.stringContaining("absolute") });
  });

  test.each(["/dev/zero", "/run/fifo", "/proc/kmsg"])(
    "resolvConf: %s, which never ends, is an error",
    async (resolvConf) => {
      await lab.onNode("sh", "-c", "[ -p /run/fifo ] || mkfifo /run/fifo");
      const { error } = await chainOf({ resolvConf }).run("ADD");
      expect(error).toMatchObject({ code: 7, msg: expect.stringContaining(resolvConf) });
      await chainOf({}, "1.1.0").pass("STATUS");
    },
  );
});

describe("a configuration that is another one by the time of DEL", () => {
  const hostLocal = { type: "host-local", ranges };
  test.each([
    ["another plugin", hostLocal, { type: "static" }],
    ["a plugin that is nowhere", hostLocal, { type: "nowhere" }],
    ["our own", hostLocal, {}],
    ["no ranges", hostLocal, { ...hostLocal, ranges: [] }],
    ["a plugin that is nowhere, after our own", {}, { type: "nowhere" }],
    ["another plugin, after our own", {}, hostLocal],
    ["another directory", { dataDir: "/run/leases", ranges }, {}],
  ])("gives everything back: %s", async (_, before, after) => {
    await chainOf(before).add();
    await chainOf(after).pass("DEL");
  });
});

test("a plugin that is to give itself addresses is refused", async () => {
  const chain = chainOf({ type: "fairlead" });
  for (const command of ["ADD", "DEL"] as const) {
    expect((await chain.run(command)).error).toMatchObject({
      code: 7,
      msg: expect.stringContaining('ipam.type "fairlead"'),
    });
  }
});
