import { expect, test } from "vitest";
import { Promptness } from "./promptness.ts";

/** A launcher whose octets are there at once, within the wait, or not at all; notes the waits. */
function sending(when: "at once" | "soon" | "late", waits: number[]) {
  const octets = Buffer.from("request");
  return {
    receiveWaiting: () => (when === "at once" ? octets : Buffer.alloc(0)),
    receiveWithin: (forMs: number) => {
      waits.push(forMs);
      return when === "late" ? Buffer.alloc(0) : octets;
    },
  };
}

test("waits a moment for who has connected and not sent yet", () => {
  const waits: number[] = [];
  const promptness = new Promptness(() => 0);
  expect(promptness.receiveFirst(sending("at once", waits)).toString()).toBe("request");
  expect(waits).toEqual([]);
  expect(promptness.receiveFirst(sending("soon", waits)).toString()).toBe("request");
  expect(promptness.receiveFirst(sending("soon", waits)).toString()).toBe("request");
  expect(waits).toEqual([1, 1]);
});

test("who stalls holds up the others once a second at most", () => {
  let nowMs = 0;
  const waits: number[] = [];
  const promptness = new Promptness(() => nowMs);
  for (nowMs = 0; nowMs < 2_000; nowMs++) {
    expect(promptness.receiveFirst(sending("late", waits))).toHaveLength(0);
  }
  expect(waits).toHaveLength(2);
  expect(promptness.receiveFirst(sending("at once", waits)).toString()).toBe("request");
});
