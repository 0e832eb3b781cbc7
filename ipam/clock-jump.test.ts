// Clocks that jump, and processes whose clocks differ: the store marks what it knows with times, and lets
// freed addresses rest until one. Neither may cost an address, nor give one twice.
import { expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { add, createDataDir, key, never, ranges } from "../test/ipam/lease-directory.ts";
import { seededRandom } from "../test/support/random.ts";

const dayMs = 86_400_000;

/** A clock for people that anybody may set; what measures waiting goes on as ever. */
function jumpingClock(): Clock & { offsetMs: number } {
  const clock = { offsetMs: 0, nowMs: () => 0, monotonicMs: () => performance.now() };
  clock.nowMs = () => Date.now() + clock.offsetMs;
  return clock;
}

const small = ranges("10.1.2.0/29");

test("clocks that jump by days between any two requests give no address twice, and lose none", async () => {
  using data = createDataDir();
  const random = seededRandom(4);
  const clocks = [jumpingClock(), jumpingClock()];
  const stores = clocks.map((clock) => data.open({ clock }));
  const held = new Map<string, string>();
  for (let i = 0; i < 400; i++) {
    const which = random.below(2);
    clocks[which]!.offsetMs = (random.below(9) - 4) * dayMs + random.below(5_000);
    const id = `c${random.below(5)}`;
    const before = held.get(id);
    if (before === undefined) {
      // Five containers and five addresses: there is always one.
      const [given] = await add(stores[which]!, key(id), { ranges: small });
      expect([...held.values()]).not.toContain(given);
      held.set(id, given!);
    } else {
      expect(await stores[which]!.release(key(id), never)).toEqual([before]);
      held.delete(id);
    }
    expect(data.addresses().sort()).toEqual([...held.values()].sort());
  }
});

test("an address freed before the clock went back a day is given when there is no other", async () => {
  using data = createDataDir();
  const clock = jumpingClock();
  const ipam = data.open({ clock });
  const first = await add(ipam, key("a"), { ranges: small });
  await ipam.release(key("a"), never);
  clock.offsetMs = -dayMs;
  const given: string[] = [];
  for (const id of ["b", "c", "d", "e", "f"]) {
    given.push(...(await add(data.open({ clock }), key(id), { ranges: small })));
  }
  expect(new Set(given).size).toBe(5);
  expect(given).toContain(first[0]);
});
