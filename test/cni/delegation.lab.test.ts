// fairlead with the addresses of Debian's IPAM plugins.
import { mkdtempDisposableSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Chain } from "./chain-runner.ts";
import { type ChainNode, build, openChainNode, writePlugin } from "./chain-node.ts";

let lab: ChainNode;
beforeAll(() => void build());
beforeEach(async () => void (lab = await openChainNode()));
afterEach(() => lab[Symbol.asyncDispose]());

const chainWith = (ipam: object, args = "") =>
  lab.chainOf([{ type: "fairlead", ipam }], { name: "other", args });

describe("addresses of host-local", () => {
  test("are attached, checked and given back (deleg-05)", async () => {
    const chain = chainWith({
      type: "host-local",
      ranges: [[{ subnet: "10.7.0.0/24" }], [{ subnet: "fd00:7::/64" }]],
    });
    const held = async () =>
      (await lab.onNode("ls", "/var/lib/cni/networks/other")).match(/^(10|fd00).*$/gm);
    await lab.live(chain, async ({ ips }) => {
      expect(ips).toEqual([
        { address: "10.7.0.2/32", gateway: "169.254.1.1", interface: 1 },
        { address: "fd00:7::2/128", gateway: "fe80::1", interface: 1 },
      ]);
      expect(await held()).toEqual(["10.7.0.2", "fd00:7::2"]);
      for (const address of ["10.7.0.2", "fd00:7::2"]) await lab.ping(address);
    });
    expect(await held()).toBeNull();
  });

  test("that are exhausted leave nothing, and its error is passed on (deleg-06)", async () => {
    const ipam = {
      type: "host-local",
      ranges: [[{ subnet: "10.7.0.0/30", rangeEnd: "10.7.0.1" }]],
    };
    const { error } = await chainWith(ipam).run("ADD");
    expect(error).toMatchObject({ code: 999 });
    await chainWith(ipam).pass("DEL");
    await lab.expectClean();
  });
});

describe("addresses of static", () => {
  const ipam = {
    type: "static",
    addresses: [{ address: "10.50.0.7/24", gateway: "10.50.0.1" }, { address: "fd00:50::7/64" }],
    routes: [{ dst: "10.0.0.0/8" }, { dst: "192.0.2.0/24" }, { dst: "2001:db8::/64" }],
    dns: { nameservers: ["10.50.0.53"] },
  };

  // static compares its gateway with that of the result, where there is the pod's next hop: it is shown
  // its own.
  test("are attached and checked, with its routes and DNS (static-01, ptp-04)", () =>
    lab.live(chainWith(ipam), async ({ ips, routes, dns }) => {
      expect(ips.map(({ address }) => address)).toEqual(["10.50.0.7/32", "fd00:50::7/128"]);
      expect(routes?.map(({ dst }) => dst)).toEqual([
        "10.0.0.0/8",
        "192.0.2.0/24",
        "2001:db8::/64",
      ]);
      expect(dns).toEqual({ nameservers: ["10.50.0.53"] });
      for (const address of ["10.50.0.7", "fd00:50::7"]) await lab.ping(address);
      expect(await lab.inPod("ip", "route", "get", "10.1.2.3")).toContain("via 169.254.1.1");
    }));

  test("may come from CNI_ARGS (static-04)", () =>
    lab.live(
      chainWith({ type: "static" }, "IP=10.10.0.1/24,11.11.0.1/24;GATEWAY=10.10.0.254"),
      async ({ ips }) =>
        expect(ips.map(({ address }) => address)).toEqual(["10.10.0.1/32", "11.11.0.1/32"]),
    ));

  test("that CHECK does not find are its error", async () => {
    const chain = chainWith(ipam);
    const result = await chain.add();
    const other = { ...ipam, addresses: [{ address: "10.50.0.7/24", gateway: "10.50.0.99" }] };
    const { error } = await chainWith(other).run("CHECK", result);
    expect(error?.msg).toContain("static: Failed to match addr 10.50.0.7");
    await chain.pass("DEL", result);
    await lab.expectClean();
  });
});

test("a plugin that is nowhere in CNI_PATH is named (deleg-03)", async () => {
  const chain = chainWith({ type: "no-such-ipam" });
  expect((await chain.run("ADD")).error).toMatchObject({
    code: 7,
    msg: expect.stringContaining('Cannot find IPAM plugin "no-such-ipam"'),
  });
  await lab.expectClean();
});

describe("an IPAM plugin that is older than the verb", () => {
  const refusal = `echo '{"code":1,"msg":"incompatible CNI versions"}'; exit 1`;
  const result = { cniVersion: "1.0.0", ips: [{ address: "10.9.0.7/24" }] };
  async function withPlugin(rest: string, look: (of: (version: string) => Chain) => Promise<void>) {
    using directory = mkdtempDisposableSync(join(tmpdir(), "fairlead-old-"));
    const pluginPath = writePlugin(directory.path, { name: "old", result, rest });
    const plugin = { type: "fairlead", ipam: { type: "old" }, "cni.dev/valid-attachments": [] };
    await look((version) => lab.chainOf([plugin], { pluginPath, version }));
    await lab.expectClean();
  }

  test("fails CHECK with its code (disp-66)", () =>
    withPlugin(`[ $CNI_COMMAND != CHECK ] || { ${refusal}; }`, async (of) => {
      const added = await of("1.0.0").add();
      expect((await of("1.0.0").run("CHECK", added)).error).toMatchObject({ code: 1 });
      await of("1.0.0").pass("DEL", added);
    }));

  test("does not keep GC from succeeding (disp-70)", () =>
    withPlugin(refusal, (of) => of("1.1.0").pass("GC")));

  test("or that has nothing to say to it, passes GC and STATUS (disp-72)", () =>
    withPlugin("true", async (of) => {
      await of("1.1.0").pass("GC");
      await of("1.1.0").pass("STATUS");
    }));
});
