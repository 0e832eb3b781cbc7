import { styleText } from "node:util";
import { expect, test } from "vitest";
import { formatTable } from "./table.ts";

test("formatTable() aligns columns, indents, and leaves no white space at the end", () => {
  const rows = [
    ["NODE", "ADDRESS", ""],
    ["a", "172.30.1.11", "x"],
    ["longer-name", "1"],
  ];
  expect(formatTable(rows, "  ")).toBe(
    "  NODE         ADDRESS\n  a            172.30.1.11  x\n  longer-name  1\n",
  );
});

test("formatTable() does not count colour as width", () => {
  const red = styleText("red", "NO", { validateStream: false });
  expect(
    formatTable([
      [red, "x"],
      ["yes", "y"],
    ]),
  ).toBe(`${red}   x\nyes  y\n`);
});

test("formatTable() of nothing is nothing", () => {
  expect(formatTable([])).toBe("");
});
