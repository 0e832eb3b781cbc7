import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { aPod } from "../../test/dns/pods.ts";
import { ip } from "../../test/support/builders.ts";
import { GatheredPods } from "./gathered-pods.ts";
import type { PodsUpdate } from "./pod-book.ts";

const none: PodsUpdate = { isComplete: false, set: [], removed: [], withheld: [], lifted: [] };
const came = (name: string): PodsUpdate => ({ ...none, set: [aPod(name, "10.244.1.7")] });

/** What is sent, message by message: names of pods that came, else what an update says. */
function gathering() {
  const sent: unknown[] = [];
  const gathered = new GatheredPods((updates, turn) => {
    const said = updates.map(({ set, withheld }) => set[0]?.pod?.name ?? withheld.join());
    sent.push(turn === undefined ? said : [...said, turn]);
  });
  return { sent, gathered };
}

test("pods that come in one turn of the event loop are one message", async () => {
  const { sent, gathered } = gathering();
  gathered.add(came("a"));
  gathered.add(came("b"));
  expect(sent).toEqual([]);
  await setImmediate();
  expect(sent).toEqual([["a", "b"]]);
  gathered.add(came("c"));
  await setImmediate();
  expect(sent).toEqual([["a", "b"], ["c"]]);
});

test("what forbids an answer waits for nobody, and overtakes nobody", async () => {
  const { sent, gathered } = gathering();
  gathered.add(came("a"));
  gathered.add({ ...none, withheld: [ip("10.244.1.8")] });
  gathered.add(came("b"));
  gathered.flushWith({ ...none, removed: ["a"], withheld: [ip("10.244.1.9")] }, 5);
  expect(sent).toEqual([
    ["a", "10.244.1.8"],
    ["b", "10.244.1.9", 5],
  ]);
  gathered.add(came("c"));
  gathered.add({ ...none, removed: ["c"] });
  gathered.add(came("d"));
  gathered.add({ ...none, withheldNetworks: [] });
  gathered.add({ ...none, isComplete: true });
  expect(sent.slice(2)).toEqual([["c", ""], ["d", ""], [""]]);
  await setImmediate();
  expect(sent).toHaveLength(5);
});
