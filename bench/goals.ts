import { formatTable } from "../cli/table.ts";

/** What the project holds a benchmark to: a figure that is at least, or at most, so much. */
export interface Goal {
  readonly what: string;
  readonly least?: number;
  readonly most?: number;
  readonly value: number;
}

/** A line for each goal; `text` writes a figure. */
export const formatGoals = (goals: readonly Goal[], text: (value: number) => string): string =>
  formatTable([
    ["GOAL", "", "MEASURED", ""],
    ...goals.map(({ what, least, most, value }) => [
      what,
      least === undefined ? `at most ${most}` : `at least ${least}`,
      text(value),
      (least === undefined || value >= least) && (most === undefined || value <= most)
        ? "reached"
        : "missed",
    ]),
  ]);
