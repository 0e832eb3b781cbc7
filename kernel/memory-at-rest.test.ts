import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { lookAtRest, type MemoryCare, whenAtRest } from "./memory-at-rest.ts";

const worthwhile = 10;
const lookMs = 5_000;
const minuteMs = 60_000;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A program that holds 100 after its start, needs 60 of it, and did not work lately. */
function aProgram() {
  const program = { held: 100, needed: 60, busyShare: 0, times: 0, looks: 0 };
  const own: MemoryCare = {
    held: () => program.held,
    giveBack: () => {
      program.times++;
      program.held = program.needed;
    },
    busyShare: () => {
      program.looks++;
      return program.busyShare;
    },
  };
  return { program, own };
}

test("whenAtRest() gives back once after the start", () => {
  const { program, own } = aProgram();
  using _care = whenAtRest(own, worthwhile);
  expect(program.times).toBe(0);
  vi.advanceTimersByTime(minuteMs);
  expect(program).toMatchObject({ held: 60, times: 1 });
});

test("whenAtRest() leaves a thread alone that is at work", () => {
  const { program, own } = aProgram();
  using _care = whenAtRest(own, worthwhile);
  program.busyShare = 0.5;
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(0);
  program.busyShare = 0.01;
  vi.advanceTimersByTime(lookMs);
  expect(program.times).toBe(1);
});

test("whenAtRest() gives back again what came since, when it is worth it", () => {
  const { program, own } = aProgram();
  using _care = whenAtRest(own, worthwhile);
  vi.advanceTimersByTime(lookMs);
  program.held = 60 + worthwhile - 1;
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(1);
  program.held = 60 + worthwhile;
  vi.advanceTimersByTime(minuteMs);
  expect(program).toMatchObject({ held: 60, times: 2 });
});

test("whenAtRest() gives back once a minute at the most", () => {
  const { program, own } = aProgram();
  using _care = whenAtRest(own, worthwhile);
  vi.advanceTimersByTime(lookMs);
  program.held = 100;
  vi.advanceTimersByTime(minuteMs - lookMs);
  expect(program.times).toBe(1);
  vi.advanceTimersByTime(lookMs);
  expect(program.times).toBe(2);
});

test("whenAtRest() does not try again and again what is needed", () => {
  const { program, own } = aProgram();
  using _care = whenAtRest(own, worthwhile);
  program.needed = 100;
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(1);
});

test("whenAtRest() ends when it is disposed", () => {
  const { program, own } = aProgram();
  whenAtRest(own, worthwhile)[Symbol.dispose]();
  vi.advanceTimersByTime(minuteMs);
  expect(program.times).toBe(0);
});

test("lookAtRest() looks every 5 s, however often it is called", () => {
  const { program, own } = aProgram();
  const look = lookAtRest(own, worthwhile);
  for (let ms = 0; ms < minuteMs; ms += lookMs / 10) look(1_000_000 + ms);
  expect(program).toMatchObject({ held: 60, times: 1, looks: minuteMs / lookMs });
  program.held = 100;
  look(1_000_000 + minuteMs);
  expect(program).toMatchObject({ held: 60, times: 2 });
});
