import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DataDir, createDataDir } from "../test/ipam/lease-directory.ts";
import { ip } from "../test/support/builders.ts";
import type { JournalEvent } from "./journal-event.ts";
import { LeaseJournal } from "./journal.ts";

let data: DataDir;
let path: string;
let journal: LeaseJournal;
beforeEach(() => {
  data = createDataDir();
  path = join(data.path, "made/when/needed");
  journal = new LeaseJournal(path);
});
afterEach(() => data[Symbol.dispose]());

const freed = (why: string): JournalEvent => ({
  kind: "freed",
  addresses: [ip("10.1.2.3")],
  why,
  freed: { bootId: "boot", elapsedMs: 1, wallMs: 2 },
});
const append = (...whys: readonly string[]): void => {
  for (const why of whys) journal.append(freed(why));
};
const told = (of: LeaseJournal) => {
  const { isWhole, events, unreadable } = of.news();
  return { isWhole, unreadable, whys: events.map((event) => event.kind === "freed" && event.why) };
};
const whole = (...whys: readonly string[]) => ({ isWhole: true, unreadable: 0, whys });
const since = (...whys: readonly string[]) => ({ isWhole: false, unreadable: 0, whys });

describe("LeaseJournal", () => {
  test("tells another process what was added since, and its own nothing", () => {
    const other = new LeaseJournal(path);
    expect(told(other)).toEqual(whole());
    append("a", "b");
    expect(told(other)).toEqual(whole("a", "b"));
    expect(told(journal)).toEqual(since());
    append("c");
    expect(told(other)).toEqual(since("c"));
    other.append(freed("d"));
    expect(told(journal)).toEqual(since("d"));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("goes on after a line that its writer died in", () => {
    append("a");
    const { size } = statSync(path);
    append("b");
    const bytes = readFileSync(path);
    for (let cut = size; cut < bytes.length; cut++) {
      // Only its end is missing: the line is whole.
      const isWhole = cut === bytes.length - 1;
      const before = isWhole ? ["a", "b"] : ["a"];
      truncateSync(path, cut);
      const other = new LeaseJournal(path);
      other.news();
      other.append(freed("c"));
      const found = told(new LeaseJournal(path));
      expect(found.whys).toEqual([...before, "c"]);
      expect(found.unreadable).toBe(cut === size || isWhole ? 0 : 1);
      // A writer that never read it.
      truncateSync(path, cut);
      new LeaseJournal(path).append(freed("d"));
      expect(told(new LeaseJournal(path)).whys).toEqual([...before, "d"]);
      writeFileSync(path, bytes);
    }
  });

  test.each(["\0".repeat(100), "foreign text\n", "\n\n", "a\tb\n"])("passes over %j", (rest) => {
    append("a");
    appendFileSync(path, rest);
    append("b");
    expect(told(new LeaseJournal(path)).whys).toEqual(["a", "b"]);
  });

  test("is read whole again when another one has its place", () => {
    append("a", "b");
    const other = new LeaseJournal(path);
    expect(told(other)).toEqual(whole("a", "b"));
    journal.replace([freed("only")]);
    journal.append(freed("next"));
    expect(told(other)).toEqual(whole("only", "next"));
    // Even with the same inode and no less of it.
    writeFileSync(path, "");
    new LeaseJournal(path).append(freed("another whose line is longer than both of those were"));
    expect(told(other).isWhole).toBe(true);
  });

  test("without its first line is read whole every time", () => {
    append("a");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, `torn${text.slice(text.indexOf("\n"))}`);
    const other = new LeaseJournal(path);
    expect(other.news()).toMatchObject({ isWhole: true, unreadable: 1 });
    append("b");
    expect(told(other)).toMatchObject({ isWhole: true, whys: ["a", "b"] });
  });
});
