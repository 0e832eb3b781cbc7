import { expect, test } from "vitest";
import { RepairLedger } from "./repair-ledger.ts";

const repair = (n: number) => ({ at: "", kind: "route", found: "nothing", done: String(n) });

test("keeps the newest 64, oldest first", () => {
  const ledger = new RepairLedger();
  expect(ledger.entries()).toEqual([]);
  for (let n = 1; n <= 70; n++) ledger.add([repair(n)]);
  ledger.add([repair(71), repair(72)]);
  const kept = ledger.entries().map(({ done }) => done);
  expect([kept.length, kept[0], kept.at(-1)]).toEqual([64, "9", "72"]);
});
