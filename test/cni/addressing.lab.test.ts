// The capabilities `ips` and `ipRanges` as a runtime sends them (CNI CONVENTIONS.md), through the launcher
// and the daemon's server, and through plugin.js alone.
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ChainNode, build, openChainNode, pluginPath } from "./chain-node.ts";

const plugin = join(import.meta.dirname, "../../dist/lib/plugin.js");
const alone = `mkdir /run/alone; cat >/run/alone/fairlead <<'END'
#!/bin/sh
exec ${process.execPath} ${plugin}
END
chmod +x /run/alone/fairlead`;

let lab: ChainNode;
beforeAll(async () => {
  build();
  lab = await openChainNode();
  await lab.onNode("sh", "-c", alone);
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(() => lab.expectClean());

describe.each([
  ["the daemon", pluginPath],
  ["plugin.js", ["/run/alone"]],
])("through %s", (_, path) => {
  const fairlead = { type: "fairlead", capabilities: { ips: true, ipRanges: true } };
  const chainOf = (
    runtimeConfig: Readonly<Record<string, unknown>>,
    more: { readonly containerId?: string; readonly ifName?: string; readonly ipam?: object } = {},
  ) => {
    const { ipam, ...options } = more;
    return lab.chainOf([{ ...fairlead, ...(ipam && { ipam }) }], {
      pluginPath: path,
      capabilityArgs: runtimeConfig,
      ...options,
    });
  };
  const addressesOf = async (chain: ReturnType<typeof chainOf>) =>
    (await chain.add()).ips.map(({ address }) => address);
  const second = { containerId: "second", ifName: "eth1" };

  test("ips: what is asked for is given, to a repeated ADD too, and free after DEL", async () => {
    const asked = chainOf({ ips: ["10.244.1.77", "fd00:10:244:1::77/64"] });
    for (let i = 0; i < 2; i++) {
      await lab.live(asked, async ({ ips }) => {
        expect(ips.map(({ address }) => address)).toEqual([
          "10.244.1.77/32",
          "fd00:10:244:1::77/128",
        ]);
        await lab.ping("10.244.1.77");
        expect((await asked.add()).ips).toEqual(ips);
      });
    }
  });

  test("ips: one family asked for, the other is given as usual", async () => {
    const asked = chainOf({ ips: ["10.244.1.78"] });
    expect(await addressesOf(asked)).toEqual([
      "10.244.1.78/32",
      expect.stringMatching(/^fd00:10:244:1::[0-9a-f]+\/128$/),
    ]);
    await asked.pass("DEL");
  });

  test("ips: what another pod has is refused, and stays that pod's", async () => {
    const first = chainOf({ ips: ["10.244.1.77"] });
    const result = await first.add();
    const other = chainOf({ ips: ["10.244.1.77"] }, second);
    expect((await other.run("ADD")).error).toMatchObject({
      code: 7,
      msg: expect.stringContaining("10.244.1.77"),
    });
    await other.pass("DEL");
    await first.pass("CHECK", result);
    await lab.ping("10.244.1.77");
    await first.pass("DEL", result);
  });

  test.each(["10.99.0.1", "10.244.1.0", "10.244.1.255", "10.244.1.1", "2001:db8::5"])(
    "ips: %s, which is not to be had, is refused",
    async (address) => {
      const { error } = await chainOf({ ips: [address] }).run("ADD");
      expect(error).toMatchObject({ code: 7, msg: expect.stringContaining(address) });
    },
  );

  const range = { subnet: "10.9.0.0/28", rangeStart: "10.9.0.5", rangeEnd: "10.9.0.6" };

  test("ipRanges: take the place of the node's range", async () => {
    const chain = chainOf({ ipRanges: [[range], [{ subnet: "fd00:9::/64" }]] });
    await lab.live(chain, async ({ ips }) => {
      const [first = "", second = ""] = ips.map(({ address }) => address.split("/")[0]);
      expect(first).toMatch(/^10\.9\.0\.[56]$/);
      expect(second).toMatch(/^fd00:9::/);
      await lab.ping(first);
    });
  });

  test("ipRanges: come before the ranges of the configuration", async () => {
    const ipam = { ranges: [[{ subnet: "10.8.0.0/24" }]] };
    const chain = chainOf({ ipRanges: [[range]] }, { ipam });
    expect(await addressesOf(chain)).toEqual([
      expect.stringMatching(/^10\.9\.0\.[56]\/32$/),
      expect.stringMatching(/^10\.8\.0\./),
    ]);
    // The runtime need not say it again.
    await chainOf({}, { ipam }).pass("DEL");
  });

  test("ipRanges: an address asked for must be of one of them", async () => {
    const chain = chainOf({ ipRanges: [[range]], ips: ["10.9.0.6"] });
    expect(await addressesOf(chain)).toEqual(["10.9.0.6/32"]);
    await chain.pass("DEL");
    const { error } = await chainOf({ ipRanges: [[range]], ips: ["10.9.0.7"] }).run("ADD");
    expect(error).toMatchObject({ code: 7, msg: expect.stringContaining("10.9.0.7") });
  });

  test("ipRanges: that are exhausted are said to be", async () => {
    const ipRanges = [[{ ...range, rangeEnd: "10.9.0.5" }]];
    const first = chainOf({ ipRanges });
    await first.add();
    const { error } = await chainOf({ ipRanges }, second).run("ADD");
    expect(error).toMatchObject({ code: 100 });
    await first.pass("DEL");
  });

  // go-cni's type is a flat list, which the reference refuses too.
  test.each([
    ["a flat list", [range]],
    ["a subnet with host bits", [[{ subnet: "10.9.0.1/28" }]]],
    ["a start behind the end", [[{ ...range, rangeStart: "10.9.0.7" }]]],
    ["both families in a set", [[range, { subnet: "fd00:9::/64" }]]],
    ["sets that overlap", [[range], [range]]],
  ])("ipRanges: %s is refused, and DEL succeeds all the same", async (_title, ipRanges) => {
    const chain = chainOf({ ipRanges });
    expect((await chain.run("ADD")).error).toMatchObject({ code: 7 });
    await chain.pass("DEL");
  });
});
