import { formatTable, type Rows } from "../../cli/table.ts";

/** One line of the demo's result: something fairlead promises, and what was seen of it. */
export interface Claim {
  /** What is promised, and how it was tried. */
  readonly text: string;
  readonly seen: string;
  readonly isTrue: boolean;
}

/** Paints a word, or leaves it. */
export type Paint = (style: "green" | "red" | "bold", text: string) => string;

const shownLength = 90;

/** One line for each claim; what is too long for a line follows in full. */
export function formatClaims(claims: readonly Claim[], paint: Paint): string {
  const rows: Rows = claims.map(({ text, seen, isTrue }) => [
    isTrue ? paint("green", "ok") : paint("red", "FAILED"),
    text,
    seen.length > shownLength ? `${seen.slice(0, shownLength)}…` : seen,
  ]);
  const long = claims.filter(({ seen }) => seen.length > shownLength);
  return [
    formatTable([["", paint("bold", "CLAIM"), paint("bold", "SEEN")], ...rows]),
    ...long.map(({ text, seen }) => `\n${text}:\n  ${seen}\n`),
  ].join("");
}

/** The fastest, the middle and the slowest, in milliseconds. */
export const formatTimes = (times: readonly number[]): string =>
  `${[Math.min(...times), median(times), Math.max(...times)].map((ms) => ms.toFixed(1)).join(" / ")} ms (fastest / median / slowest)`;

/** The middle one; of an even number the lower. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}
