import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cidr } from "../../test/support/builders.ts";
import { type BlockUse, nextActions, standardDemand } from "./demand.ts";

const policy = {
  ...standardDemand,
  claimAtFree: 2,
  returnAtFree: 8,
  mostBlocks: 3,
  idleMs: 100,
  leavingMs: 50,
};
const use = (order: number, used: number, more: Partial<BlockUse> = {}): BlockUse => ({
  block: cidr(`10.1.${order}.0/24`),
  state: "held",
  order,
  isManual: false,
  used,
  quarantined: 0,
  free: 10 - used,
  idleSinceMs: 0,
  ...more,
});
const at = (nowMs: number, ...blocks: readonly BlockUse[]): string =>
  nextActions(blocks, policy, nowMs)
    .map((action) => (action.kind === "claim" ? "claim" : `${action.kind} ${action.block}`))
    .join(", ");

describe("nextActions()", () => {
  test.each([
    ["nothing is held", at(0), "claim"],
    ["hardly anything is free", at(0, use(0, 8)), "claim"],
    ["enough is free", at(0, use(0, 7)), ""],
    ["all are full and there are too many", at(0, use(0, 10), use(1, 10), use(2, 10)), ""],
    [
      "one is full and another leaving",
      at(0, use(0, 10), use(1, 0, { state: "leaving" })),
      "revive 10.1.1.0/24",
    ],
    [
      "an extra one is empty, the other has room",
      at(100, use(0, 2), use(1, 0)),
      "leave 10.1.1.0/24",
    ],
    ["an extra one was empty not long enough", at(99, use(0, 2), use(1, 0)), ""],
    ["an extra one is empty, the other is too full", at(100, use(0, 3), use(1, 0)), ""],
    [
      "an extra one has addresses in quarantine",
      at(100, use(0, 0), use(1, 0, { quarantined: 1 })),
      "",
    ],
    ["only the first is empty", at(100, use(0, 0), use(1, 2)), ""],
    ["an extra one was given by hand", at(100, use(0, 2), use(1, 0, { isManual: true })), ""],
    ["a leaving one rests", at(49, use(0, 2), use(1, 0, { state: "leaving" })), ""],
    [
      "a leaving one has rested",
      at(50, use(0, 2), use(1, 0, { state: "leaving" })),
      "remove 10.1.1.0/24",
    ],
    ["a leaving one still has pods", at(50, use(0, 2), use(1, 1, { state: "leaving" })), ""],
  ])("when %s", (_what, actions, expected) => expect(actions).toBe(expected));

  test("never gives back the first, what is in use, or so much that it must claim again", () => {
    const anyBlock = fc.record({
      used: fc.nat(10),
      quarantined: fc.nat(1),
      state: fc.constantFrom("held" as const, "leaving" as const),
      idleSinceMs: fc.nat(200),
    });
    fc.assert(
      fc.property(fc.array(anyBlock, { maxLength: 5 }), (drafts) => {
        const blocks = drafts.map((draft, i) =>
          use(i, draft.used, { ...draft, free: 10 - draft.used }),
        );
        const actions = nextActions(blocks, policy, 200);
        expect(actions.filter(({ kind }) => kind !== "remove").length).toBeLessThanOrEqual(1);
        for (const action of actions) {
          if (action.kind === "claim" || action.kind === "revive") continue;
          const block = blocks.find((one) => one.block === action.block)!;
          expect([block.used, block.quarantined]).toEqual([0, 0]);
          expect(block.state).toBe(action.kind === "leave" ? "held" : "leaving");
          if (action.kind === "remove") continue;
          const held = blocks.filter(({ state }) => state === "held");
          expect(block).not.toBe(held[0]);
          const rest = blocks.filter((one) => one !== block && one.state === "held");
          expect(nextActions(rest, policy, 200)).toEqual(
            expect.not.arrayContaining([{ kind: "claim" }]),
          );
        }
      }),
    );
  });
});
