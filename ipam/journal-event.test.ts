import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ip } from "../test/support/builders.ts";
import { type JournalEvent, formatEvent, parseEvent } from "./journal-event.ts";

const moment = fc.record({
  bootId: fc.uuid(),
  elapsedMs: fc.integer(),
  wallMs: fc.integer({ min: 0 }),
});
const addresses = fc.constantFrom([ip("10.1.2.3")], [ip("10.1.2.3"), ip("fd00::3")]);
const label = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,9}$/);
const given = fc.record({
  kind: fc.constant("given" as const),
  addresses,
  details: fc.record(
    {
      owner: fc.record({ containerId: fc.string({ minLength: 1 }), ifName: fc.string() }),
      stamp: fc.record({ inode: fc.nat(), modifiedMs: fc.double({ min: 0, max: 2e12 }) }),
      given: moment,
      sandbox: fc.record({ device: fc.nat(), inode: fc.nat(), path: fc.string() }),
      pod: fc.record({ namespace: label, name: label }),
    },
    { requiredKeys: ["owner", "stamp", "given"] },
  ),
});
const freed = fc.record({
  kind: fc.constant("freed" as const),
  addresses,
  why: fc.string(),
  freed: moment,
});
const event: fc.Arbitrary<JournalEvent> = fc.oneof(given, freed);

describe("a journal's line", () => {
  test("is what was written, whatever is in a name or a path", () => {
    fc.assert(
      fc.property(event, (one) => {
        const line = formatEvent(one);
        expect(line.indexOf("\n")).toBe(line.length - 1);
        expect(parseEvent(line.slice(0, -1))).toEqual(one);
      }),
    );
  });

  test("says nothing when it is cut, or one of its characters is another", () => {
    fc.assert(
      fc.property(event, fc.nat(), fc.string({ maxLength: 1 }), (one, at, other) => {
        const line = formatEvent(one).slice(0, -1);
        const place = at % line.length;
        expect(parseEvent(line.slice(0, place))).toBeUndefined();
        const changed = line.slice(0, place) + other + line.slice(place + 1);
        if (changed !== line) expect(parseEvent(changed)).toBeUndefined();
      }),
    );
  });

  test("of a later version says nothing", () => {
    const text = formatEvent({ kind: "journal", generation: "00" }).slice(9, -1);
    expect(text).toBe("journal\t1\t00");
    expect(parseEvent("00000000\t\0\0\0")).toBeUndefined();
  });
});
