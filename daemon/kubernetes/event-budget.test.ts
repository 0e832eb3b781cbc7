import { expect, test } from "vitest";
import { EventChoice } from "./event-budget.ts";

const budget = { lastingMs: 30, againMs: 1000, most: 3, windowMs: 500 };

test("tells what lasts, once in a while", () => {
  const choice = new EventChoice(budget);
  expect(choice.choose(["a"], 0)).toEqual([]);
  expect(choice.choose(["a"], 30)).toEqual(["a"]);
  expect(choice.choose(["a"], 900)).toEqual([]);
  expect(choice.choose(["a"], 1030)).toEqual(["a"]);
});

test("does not tell what comes and goes", () => {
  const choice = new EventChoice(budget);
  for (let at = 0; at < 300; at += 20) {
    expect(choice.choose(at % 40 === 0 ? ["a"] : [], at)).toEqual([]);
  }
});

test("tells few altogether, and the rest later", () => {
  const choice = new EventChoice(budget);
  const many = ["a", "b", "c", "d", "e"];
  choice.choose(many, 0);
  expect(choice.choose(many, 30)).toEqual(["a", "b", "c"]);
  expect(choice.choose(many, 400)).toEqual([]);
  expect(choice.choose(many, 530)).toEqual(["d", "e"]);
});
