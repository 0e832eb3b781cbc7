import { expect, test } from "vitest";
import { RealtimeShare } from "./realtime-share.ts";

/** A thread that may go first for 0.3 of the time: what was set, in order. */
function aThread(share = 0.3, isAllowed = true) {
  const set: boolean[] = [];
  const realtime = new RealtimeShare(share, (isRealtime) => {
    set.push(isRealtime);
    return isAllowed;
  });
  let nowMs = 1_000_000;
  const work = (ms: number): void => realtime.worked(nowMs, (nowMs += ms));
  const rest = (ms: number): void => void (nowMs += ms);
  return { set, work, rest };
}

test("who works little goes first, always", () => {
  const { set, work, rest } = aThread();
  for (let i = 0; i < 1000; i++) {
    work(2);
    rest(8);
  }
  expect(set).toEqual([true]);
});

test("who works on goes first for its share of each tenth of a second", () => {
  const { set, work } = aThread();
  let firstMs = 0;
  for (let i = 0; i < 1000; i++) {
    if (set.at(-1) === true) firstMs++;
    work(1);
  }
  expect(set.slice(0, 4)).toEqual([true, false, true, false]);
  expect(firstMs).toBeGreaterThan(250);
  expect(firstMs).toBeLessThanOrEqual(300);
});

test("goes first again when the tenth of a second is over", () => {
  const { set, work, rest } = aThread();
  for (let i = 0; i < 50; i++) work(1);
  expect(set).toEqual([true, false]);
  rest(100);
  work(1);
  expect(set).toEqual([true, false, true]);
});

test("without a share it never goes first, and what is refused is not tried again", () => {
  const none = aThread(0);
  const refused = aThread(0.3, false);
  for (let i = 0; i < 1000; i++) for (const { work } of [none, refused]) work(1);
  expect(none.set).toEqual([]);
  expect(refused.set).toEqual([true]);
});
