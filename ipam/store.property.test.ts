// What holds whatever is asked, in whatever order, by however many.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CniCode, CniError } from "../core/cni/error.ts";
import { add, createDataDir, key, never, ranges } from "../test/ipam/lease-directory.ts";
import type { Ipam } from "./ipam.ts";

type Step =
  | { readonly kind: "reserve"; readonly container: number; readonly isDual: boolean }
  | { readonly kind: "release"; readonly container: number }
  | { readonly kind: "collect"; readonly keep: number };

const container = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      container,
      isDual: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const), container }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("collect" as const), keep: fc.nat(9) }) },
);

const single = ranges("10.1.2.0/29");
const dual = ranges("10.1.2.0/29", "fd00::/125");

describe("leases", () => {
  test("are what a map says, after any steps taken by three stores in turn", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(2), step), { maxLength: 40 }), async (steps) => {
        using data = createDataDir();
        const stores = [data.open(), data.open(), data.open()];
        const model = new Map<string, readonly string[]>();
        for (const [at, one] of steps) await take(stores[at]!, one, model);
        const held = await stores[0]!.leases("mynet");
        const expected = [...model].flatMap(([containerId, addresses]) =>
          addresses.map((address) => ({ address, containerId, ifName: "eth0" })),
        );
        expect(new Set(held)).toEqual(new Set(expected));
        expect(new Set(held.map(({ address }) => address)).size).toBe(held.length);
      }),
      { numRuns: 60 },
    );
  });

  test("never share an address when stores work at the same time", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(3), step), { maxLength: 40 }), async (steps) => {
        using data = createDataDir();
        const stores = Array.from({ length: 4 }, () => data.open());
        await Promise.all(
          steps.map(([at, one]) => take(stores[at]!, one, new Map<string, readonly string[]>())),
        );
        const held = await data.open().leases("mynet");
        expect(new Set(held.map(({ address }) => address)).size).toBe(held.length);
        const perSet = held.map(
          ({ address, containerId }) => `${containerId} ${address.includes(":")}`,
        );
        expect(new Set(perSet).size).toBe(held.length);
      }),
      { numRuns: 40 },
    );
  });

  test("fill the range to its last address, and then again in the order of release", async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([...Array(14).keys()]), async (released) => {
        using data = createDataDir();
        const ipam = data.open();
        // A /28 has 14 addresses that are neither end, and one of them is the gateway.
        const room = ranges("10.1.2.0/28");
        const given: string[] = [];
        for (let i = 0; i < 13; i++)
          given.push(...(await add(ipam, key(`c${i}`), { ranges: room })));
        expect(new Set(given).size).toBe(13);
        await expect(add(ipam, key("late"), { ranges: room })).rejects.toMatchObject({
          code: CniCode.addressesExhausted,
        });
        for (const i of released) await ipam.release(key(`c${i}`), never);
        const freed = given.filter((_, i) => released.includes(i));
        const again: string[] = [];
        for (const address of freed) {
          again.push(...(await add(ipam, key(`again ${address}`), { ranges: room })));
        }
        expect(again).toEqual(freed);
      }),
      { numRuns: 20 },
    );
  });
});

/** One step on the store, and what it means for who holds what. */
async function take(ipam: Ipam, one: Step, model: Map<string, readonly string[]>): Promise<void> {
  switch (one.kind) {
    case "reserve": {
      const id = `c${one.container}`;
      try {
        const addresses = await add(ipam, key(id), { ranges: one.isDual ? dual : single });
        const before = model.get(id) ?? [];
        for (const address of before.slice(0, addresses.length))
          expect(addresses).toContain(address);
        model.set(id, [...new Set([...before, ...addresses])]);
      } catch (thrown) {
        if (!(thrown instanceof CniError) || thrown.code !== CniCode.addressesExhausted)
          throw thrown;
      }
      return;
    }
    case "release": {
      const id = `c${one.container}`;
      const freed = await ipam.release(key(id), never);
      if (model.has(id)) expect([...freed].sort()).toEqual([...model.get(id)!].sort());
      model.delete(id);
      return;
    }
    case "collect": {
      const kept = `c${one.keep}`;
      await ipam.collect("mynet", ({ containerId }) => containerId === kept, never);
      for (const id of model.keys()) if (id !== kept) model.delete(id);
    }
  }
}
