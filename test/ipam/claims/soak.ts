import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../../support/random.ts";
import { exploreAll, exploreSome } from "./explore.ts";
import { releasing, returning, sharingName, starting } from "./scenarios.ts";
import { soakClaims } from "./soak-processes.ts";

/** Of one scenario: 20,000 take six seconds of one core. Beyond them the courses at random go. */
const mostStates = 100_000;

/** Throws naming the course, or the round, in which a rule was broken. Figures by scenario. */
export async function soakEveryCourse(options: {
  /** At random, of each of the larger scenarios. */
  readonly courses: number;
  /** Of 20 processes that are killed. */
  readonly rounds: number;
  readonly seed: number;
}): Promise<Readonly<Record<string, unknown>>> {
  const { courses, rounds, seed } = options;
  const figures: Record<string, unknown> = {};
  const small = [
    starting(2, 1, 0),
    starting(2, 0, 1),
    starting(3, 0, 0),
    starting(2, 1, 1),
    returning(0, 1),
    returning(1, 0),
    sharingName(1, 1),
    releasing(1, 0, false),
    releasing(0, 0, true),
  ];
  for (const scenario of small) {
    const explored = exploreAll(scenario, mostStates);
    const extent = explored.isComplete ? "every course" : "the first courses";
    figures[`${extent}: ${scenario.name}`] = explored.states;
  }
  for (const scenario of [starting(3, 4, 2), returning(4, 2), releasing(4, 1, true)]) {
    const explored = exploreSome(scenario, courses, seededRandom(seed));
    figures[`${courses} courses: ${scenario.name}`] = explored.states;
  }
  const directory = mkdtempSync(join(tmpdir(), "fairlead-claims-"));
  try {
    figures["processes"] = await soakClaims({
      directory: join(directory, "claims"),
      processes: 20,
      rounds,
      seed,
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
  return figures;
}
