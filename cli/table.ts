import { stripVTControlCharacters } from "node:util";

/** Cells of a table, row by row; a missing cell is empty. */
export type Rows = readonly (readonly string[])[];

// Cells may carry colour, which takes no room.
const widthOf = (text: string): number => stripVTControlCharacters(text).length;

/** Rows as text in aligned columns, two spaces apart, each line with `indent` in front. */
export function formatTable(rows: Rows, indent = ""): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
    });
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, column) =>
        column === row.length - 1 ? cell : cell + " ".repeat((widths[column] ?? 0) - widthOf(cell)),
      );
      return `${indent}${cells.join("  ")}`.trimEnd() + "\n";
    })
    .join("");
}
