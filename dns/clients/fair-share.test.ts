import { expect, test } from "vitest";
import { FairShare } from "./fair-share.ts";

const entered = (share: FairShare, client: string, count: number): number =>
  Array.from({ length: count }, () => share.enter(client)).filter(Boolean).length;

test("a client has at most its share, and again what it gave back", () => {
  const share = new FairShare(100, 10);
  expect([entered(share, "a", 50), entered(share, "b", 50)]).toEqual([10, 10]);
  share.leave("a");
  expect([entered(share, "a", 50), entered(share, "b", 50)]).toEqual([1, 0]);
});

test.each([1, 5, 40])("%i that take all they can leave room for another, and share alike", (n) => {
  const share = new FairShare(1000);
  const greedy = Array.from({ length: n }, (_, i) => `greedy${i}`);
  const held = new Map(greedy.map((client) => [client, 0]));
  for (let turn = 0; turn < 1000; turn++) {
    for (const client of greedy) {
      if (share.enter(client)) held.set(client, held.get(client)! + 1);
    }
  }
  const counts = [...held.values()];
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  expect(entered(share, "modest", 5)).toBe(5);
});

test("is never over its bound", () => {
  const share = new FairShare(100);
  const all = Array.from({ length: 1000 }, (_, i) => share.enter(`client${i}`));
  expect(all.filter(Boolean).length).toBe(100);
});
