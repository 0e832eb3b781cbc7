import { beforeEach, expect, test } from "vitest";
import { answerers, PodTurns } from "./pod-turns.ts";

// Each with the same memory: one of the main thread, one of a thread that answers.
let main: PodTurns;
let thread: PodTurns;
beforeEach(() => {
  main = new PodTurns();
  thread = new PodTurns(main.buffer);
});

test("who answers sees what was told, until the resolver has taken it", () => {
  expect(thread.isBehind).toBe(false);
  const turn = main.next;
  expect(thread.isBehind).toBe(false);
  main.tell(turn);
  expect(thread.isBehind).toBe(true);
  const second = main.next;
  main.tell(second);
  thread.taken(turn);
  expect(thread.isBehind).toBe(true);
  thread.taken(second);
  expect(thread.isBehind).toBe(false);
});

test.each(Object.entries(answerers))(
  "an answer of the %s thread that was begun before is waited for, none that begins later",
  (_name, answerer) => {
    expect(main.tell(main.next)()).toBe(false);
    thread.begin(answerer);
    const mayAnswer = main.tell(main.next);
    expect(mayAnswer()).toBe(true);
    thread.end(answerer);
    expect(mayAnswer()).toBe(false);
    thread.begin(answerer);
    expect(mayAnswer()).toBe(false);
  },
);

test("turns go on beyond the largest number", () => {
  const last = 2 ** 31 - 1;
  main.tell(last);
  thread.taken(last);
  expect(main.next).toBe(-(2 ** 31));
  main.tell(main.next);
  expect(thread.isBehind).toBe(true);
  thread.taken(-(2 ** 31));
  expect(thread.isBehind).toBe(false);
});
