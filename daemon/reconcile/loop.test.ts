import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type LoopOutcome, type LoopReason, ReconcileLoop } from "./loop.ts";

const timing = { pauseMs: 10, resyncMs: 1000, backoffMs: 100, backoffMaxMs: 400 };

describe("ReconcileLoop", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 0 }));
  afterEach(() => void vi.useRealTimers());

  function start(pass: () => LoopOutcome = () => "done", takesMs = 0) {
    const passes: string[] = [];
    const clock = { nowMs: () => Date.now(), monotonicMs: () => Date.now() };
    const loop = new ReconcileLoop(
      (reason: LoopReason) => {
        passes.push(`${Date.now()} ${reason}`);
        vi.setSystemTime(Date.now() + takesMs);
        return pass();
      },
      clock,
      timing,
    );
    return { loop, passes };
  }

  test("starts at once, and makes one pass of a burst", () => {
    const { loop, passes } = start();
    loop.request("news");
    loop.request("event");
    vi.advanceTimersByTime(1);
    expect(passes).toEqual(["0 news"]);
    for (let i = 0; i < 100; i++) loop.request("event");
    vi.advanceTimersByTime(50);
    expect(passes).toEqual(["0 news", "10 event"]);
  });

  test("resyncs when nothing happens", () => {
    const { loop, passes } = start();
    loop.request("news");
    vi.advanceTimersByTime(2500);
    expect(passes).toEqual(["0 news", "1000 resync", "2000 resync"]);
  });

  test("resyncs in time, however often something happens", () => {
    const { loop, passes } = start();
    loop.request("news");
    for (let i = 0; i < 8; i++) {
      vi.advanceTimersByTime(300);
      loop.request("event");
    }
    expect(passes.filter((line) => line.endsWith("resync"))).toEqual([
      "1000 resync",
      "2000 resync",
    ]);
    expect(passes.filter((line) => line.endsWith("event"))).toHaveLength(7);
  });

  test("rests four times as long as passes take, of which one alone may be long", () => {
    const { loop, passes } = start(() => "done", 20);
    for (let i = 0; i < 3; i++) {
      loop.request("event");
      vi.advanceTimersByTime(70);
    }
    expect(passes).toEqual(["0 event", "90 event", "190 event"]);
    const once = start(() => "done", 500);
    once.loop.request("news");
    vi.advanceTimersByTime(1);
    const endedAt = Date.now();
    once.loop.request("news");
    vi.advanceTimersByTime(10);
    expect(once.passes.slice(1)).toEqual([`${endedAt + timing.pauseMs - 1} news`]);
  });

  test("rests no longer than until a resync, though passes fail", () => {
    const { loop, passes } = start(() => "failed", 2_000);
    loop.request("news");
    vi.advanceTimersByTime(1);
    for (let i = 0; i < 3; i++) vi.advanceTimersByTime(timing.resyncMs);
    const startedAt = passes.map((line) => Number(line.split(" ")[0]));
    const rests = startedAt.slice(1).map((at, i) => at - (startedAt[i] ?? 0) - 2_000);
    expect(rests).toHaveLength(3);
    for (const rest of rests) expect(rest).toBeLessThanOrEqual(timing.resyncMs);
  });

  test("goes on at once with a pass that is not finished, and counts its parts as one", () => {
    const left = [2, 2];
    const outcome = (): LoopOutcome =>
      (left[0] ?? 0) > 0 && left[0]!-- > 0 ? "unfinished" : "done";
    const { loop, passes } = start(outcome, 20);
    loop.request("event");
    // Each part takes 20 ms by the clock, and a timer's millisecond passes in between.
    vi.advanceTimersByTime(5);
    expect(passes.map((line) => line.split(" ")[1])).toEqual(["event", "news", "news"]);
    const endedAt = Date.now();
    loop.request("event");
    vi.advanceTimersByTime(15);
    expect(passes).toHaveLength(4);
    expect(Number(passes[3]!.split(" ")[0]) - endedAt).toBeLessThanOrEqual(timing.pauseMs);
  });

  test("goes on with a pass when what it waits for is over, and with no other meanwhile", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const outcomes: LoopOutcome[] = [promise, "done", "done"];
    const { loop, passes } = start(() => outcomes.shift() ?? "failed");
    loop.request("news");
    vi.advanceTimersByTime(1);
    loop.request("event");
    vi.advanceTimersByTime(500);
    expect(passes).toEqual(["0 news"]);
    resolve();
    await promise;
    vi.advanceTimersByTime(1);
    expect(passes).toEqual(["0 news", "501 news"]);
    // What was wanted meanwhile is not forgotten.
    vi.advanceTimersByTime(20);
    expect(passes.slice(2)).toEqual(["511 event"]);
  });

  test("backs off while passes fail, up to a bound, and goes back when one succeeds", () => {
    let isFailing = true;
    const { loop, passes } = start(() => (isFailing ? "failed" : "done"));
    loop.request("news");
    vi.advanceTimersByTime(1500);
    expect(passes.map((line) => Number(line.split(" ")[0]))).toEqual([
      0, 100, 300, 700, 1100, 1500,
    ]);
    isFailing = false;
    vi.advanceTimersByTime(400);
    loop.request("event");
    vi.advanceTimersByTime(10);
    expect(passes.slice(-2)).toEqual(["1900 event", "1910 event"]);
  });

  test("while backing off waits with events, not with news", () => {
    const { loop, passes } = start(() => "failed");
    loop.request("news");
    vi.advanceTimersByTime(1);
    loop.request("event");
    vi.advanceTimersByTime(50);
    expect(passes).toEqual(["0 news"]);
    loop.request("news");
    vi.advanceTimersByTime(1);
    expect(passes).toEqual(["0 news", "51 news"]);
  });

  test("while backing off makes repairs, which neither end nor lengthen it", () => {
    const { loop, passes } = start(() => "failed");
    loop.request("news");
    vi.advanceTimersByTime(1);
    for (let i = 0; i < 3; i++) {
      loop.request("repair");
      loop.request("event");
      vi.advanceTimersByTime(20);
    }
    vi.advanceTimersByTime(239);
    expect(passes).toEqual([
      "0 news",
      "10 repair",
      "21 repair",
      "41 repair",
      "100 event",
      "300 event",
    ]);
  });

  test("makes a whole pass where news comes with a repair, and where none has failed", () => {
    const outcomes: LoopOutcome[] = ["failed", "done"];
    const { loop, passes } = start(() => outcomes.shift() ?? "done");
    loop.request("news");
    vi.advanceTimersByTime(1);
    loop.request("repair");
    loop.request("news");
    vi.advanceTimersByTime(20);
    loop.request("repair");
    vi.advanceTimersByTime(20);
    expect(passes).toEqual(["0 news", "10 news", "21 event"]);
  });

  test("does nothing after it is disposed", () => {
    const { loop, passes } = start();
    loop.request("news");
    loop[Symbol.dispose]();
    loop.request("news");
    vi.advanceTimersByTime(5000);
    expect(passes).toEqual([]);
  });
});
