// Several stores on one directory, each with a memory of its own, while addresses rest, are asked for and
// come again by name.
import fc from "fast-check";
import { expect, test } from "vitest";
import { CniCode, CniError } from "../core/cni/error.ts";
import { createDataDir, key, never, ranges } from "../test/ipam/lease-directory.ts";
import { TestMachineClocks } from "../test/ipam/machine.ts";
import { ip } from "../test/support/builders.ts";
import type { Ipam, ReserveRequest } from "./ipam.ts";

// .2 to .6: the network's own address, the gateway and the broadcast address are nobody's.
const room = ranges("10.1.2.0/29");
const addresses = ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"];
const containers = [...Array(8).keys()].map((index) => `c${index}`);
const quarantineMs = 60_000;

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      container: fc.constantFrom(...containers),
      requested: fc.option(fc.constantFrom(...addresses)),
      pod: fc.option(fc.constantFrom("web-0", "web-1")),
      rests: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("release" as const),
      container: fc.constantFrom(...containers),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(80_000) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function take(ipam: Ipam, machine: TestMachineClocks, one: Step): Promise<void> {
  if (one.kind === "wait") return machine.pass(one.ms);
  if (one.kind === "release") return void (await ipam.release(key(one.container), never));
  const { container, requested, pod, rests } = one;
  const request: ReserveRequest = {
    key: key(container),
    ranges: room,
    requestedIps: requested === null ? [] : [ip(requested)],
    ...(pod !== null && { pod: { namespace: "demo", name: pod }, isSticky: true }),
    quarantineMs: rests ? quarantineMs : 0,
  };
  try {
    await ipam.reserve(request, never);
  } catch (thrown) {
    const refusals: readonly number[] = [CniCode.addressesExhausted, CniCode.invalidConfig];
    if (!(thrown instanceof CniError && refusals.includes(thrown.code))) throw thrown;
  }
}

const held = async (ipam: Ipam) => ipam.leases("mynet");

test.each(["in turn", "at the same time"])(
  "stores that work %s never give an address twice, and all can be given in the end",
  async (how) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(3), step), { maxLength: 40 }), async (steps) => {
        using data = createDataDir();
        const machine = new TestMachineClocks();
        const open = (): Ipam => data.open({ clock: machine, boot: machine });
        const stores = Array.from({ length: 4 }, open);
        const begin = ([at, one]: (typeof steps)[number]) => take(stores[at]!, machine, one);
        if (how === "in turn") for (const one of steps) await begin(one);
        else await Promise.all(steps.map(begin));
        const seen = await Promise.all(stores.map(held));
        for (const leases of seen) expect(leases).toEqual(seen[0]);
        const live = seen[0] ?? [];
        expect(new Set(live.map(({ address }) => address)).size).toBe(live.length);
        expect(new Set(live.map(({ containerId }) => containerId)).size).toBe(live.length);
        for (const container of containers) await stores[0]!.release(key(container), never);
        // Whatever rests: a pod without an address is worse.
        for (const [index] of addresses.entries()) {
          const request = { key: key(`last-${index}`), ranges: room, requestedIps: [] };
          await stores[index % 4]!.reserve({ ...request, quarantineMs }, never);
        }
        expect((await held(open())).map(({ address }) => address)).toEqual(addresses);
      }),
      { numRuns: 30 },
    );
  },
  60_000,
);
