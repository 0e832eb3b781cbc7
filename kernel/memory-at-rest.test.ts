import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { whenAtRest } from "./memory-at-rest.ts";

const worthwhile = 10;
const lookMs = 5_000;
const minuteMs = 60_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A program that holds 100 after its start, needs 60 of it, and did not work lately. */
function aProgram() {
  const program = { held: 100, needed: 60, busyShare: 0, times: 0 };
  const care = whenAtRest(
    {
      held: () => program.held,
      giveBack: () => {
        program.times++;
        program.held = program.needed;
      },
      busyShare: () => program.busyShare,
    },
    worthwhile,
  );
  return { program, care };
}

test("whenAtRest() gives back once after the start", () => {
  const { program, care } = aProgram();
  using _care = care;
  expect(program.times).toBe(0);
  vi.advanceTimersByTime(minuteMs);
  expect(program).toMatchObject({ held: 60, times: 1 });
});

test("whenAtRest() leaves a thread alone that is at work", () => {
  const { program, care } = aProgram();
  using _care = care;
  program.busyShare = 0.5;
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(0);
  program.busyShare = 0.01;
  vi.advanceTimersByTime(lookMs);
  expect(program.times).toBe(1);
});

test("whenAtRest() gives back again what came since, when it is worth it", () => {
  const { program, care } = aProgram();
  using _care = care;
  vi.advanceTimersByTime(lookMs);
  program.held = 60 + worthwhile - 1;
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(1);
  program.held = 60 + worthwhile;
  vi.advanceTimersByTime(minuteMs);
  expect(program).toMatchObject({ held: 60, times: 2 });
});

test("whenAtRest() gives back once a minute at the most", () => {
  const { program, care } = aProgram();
  using _care = care;
  vi.advanceTimersByTime(lookMs);
  program.held = 100;
  vi.advanceTimersByTime(minuteMs - lookMs);
  expect(program.times).toBe(1);
  vi.advanceTimersByTime(lookMs);
  expect(program.times).toBe(2);
});

test("whenAtRest() does not try again and again what is needed", () => {
  const { program, care } = aProgram();
  using _care = care;
  program.needed = 100;
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(1);
});

test("whenAtRest() ends when it is disposed", () => {
  const { program, care } = aProgram();
  care[Symbol.dispose]();
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(0);
});
