import { describe, expect, test } from "vitest";
import { Control, maxWaiting, maxWaitingPerClient } from "./packet-protocol.ts";

/** How many queries of a client get a place, of so many. */
const entered = (control: Control, hash: number, count: number): number =>
  Array.from({ length: count }, () => control.enter(hash)).filter((place) => place >= 0).length;

describe("Control, of queries that wait for the responder", () => {
  test("a client has a part of the queue, and again what has left it", () => {
    const control = new Control();
    expect(entered(control, 1, 2 * maxWaiting)).toBe(maxWaitingPerClient);
    expect(maxWaitingPerClient).toBeLessThanOrEqual(maxWaiting / 8);
    for (let i = 0; i < 10; i++) control.leave(1);
    expect(entered(control, 1, 20)).toBe(10);
  });

  test.each([1, 8, 30, 250])("%i that flood leave room for one that asks little", (floods) => {
    const control = new Control();
    for (let round = 0; round < maxWaiting; round++) {
      for (let client = 1; client <= floods; client++) control.enter(client);
    }
    expect(entered(control, 0, 10)).toBe(10);
    // Of those that flood none has much more than another.
    const shares = Array.from({ length: floods }, (_, i) => {
      let share = 0;
      for (; control.enter(i + 1) >= 0; share++);
      return share;
    });
    expect(Math.max(...shares)).toBe(0);
  });

  test("is never over its bound, and empty again in the end", () => {
    const control = new Control();
    const places = Array.from({ length: 20_000 }, (_, i) => control.enter(i)).filter((p) => p >= 0);
    expect(places.length).toBeLessThanOrEqual(maxWaiting);
    expect(places.length).toBeGreaterThan(maxWaiting - 4);
    for (const place of places) control.leave(place);
    expect(entered(control, 5, maxWaiting)).toBe(maxWaitingPerClient);
  });
});
