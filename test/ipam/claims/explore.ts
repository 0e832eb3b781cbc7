// Every course that a scenario can take, or very many of them at random.
import type { Random } from "../../../core/clock.ts";
import { type Choice, type Scenario, World } from "./world.ts";

export interface Explored {
  /** Different states of store, processes and messages under way. */
  readonly states: number;
  /** Courses followed to their end. */
  readonly ends: number;
  /** False: the limit was reached before all states were seen. */
  readonly isComplete: boolean;
}

/** Throws naming the course that broke a rule. */
export function exploreAll(scenario: Scenario, mostStates: number): Explored {
  const seen = new Set<string>();
  const stack: (readonly Choice[])[] = [[]];
  let ends = 0;
  for (let prefix = stack.pop(); prefix !== undefined; prefix = stack.pop()) {
    const world = new World(scenario);
    const taken: Choice[] = [];
    tracing(world, scenario, () => {
      for (const choice of prefix) {
        world.take(choice);
        taken.push(choice);
      }
      for (;;) {
        const key = world.key();
        if (seen.has(key)) return;
        seen.add(key);
        const choices = world.choices();
        if (isOver(world)) {
          ends++;
          finish(scenario, taken);
        }
        if (choices.length === 0) return;
        for (const other of choices.slice(1).reverse()) stack.push([...taken, other]);
        world.take(choices[0]!);
        taken.push(choices[0]!);
      }
    });
    if (seen.size >= mostStates) return { states: seen.size, ends, isComplete: false };
  }
  return { states: seen.size, ends, isComplete: true };
}

/** Courses chosen at random, each to its end: deeper than {@link exploreAll} can go. */
export function exploreSome(scenario: Scenario, courses: number, random: Random): Explored {
  const seen = new Set<string>();
  for (let course = 0; course < courses; course++) {
    const world = new World(scenario);
    const taken: Choice[] = [];
    tracing(world, scenario, () => {
      for (;;) {
        seen.add(world.key());
        const choices = world.choices();
        if (choices.length === 0) break;
        const choice = choices[random.below(choices.length)]!;
        world.take(choice);
        taken.push(choice);
      }
      finish(scenario, taken);
    });
  }
  return { states: seen.size, ends: courses, isComplete: false };
}

// The end of a course is tried out on a copy: late messages may still come in the other courses.
function finish(scenario: Scenario, course: readonly Choice[]): void {
  const world = new World(scenario);
  for (const choice of course) world.take(choice);
  tracing(world, scenario, () => scenario.atEnd?.(world));
}

const isOver = (world: World): boolean =>
  world.processes.every(({ state, life, program }) =>
    state === "dead" ? life >= (program.lives ?? 2) : state !== "running",
  );

function tracing(world: World, scenario: Scenario, work: () => void): void {
  try {
    work();
  } catch (cause) {
    if (cause instanceof BrokenRule) throw cause;
    const course = world.trace.map((label) => `\n  ${label}`).join("");
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new BrokenRule(`${scenario.name}: ${message}, by${course}`, { cause });
  }
}

export class BrokenRule extends Error {}
