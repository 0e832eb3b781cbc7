import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

test("one piece is done in a turn of the event loop, in the order in which they were asked for", async () => {
  const turns = new Turns();
  let loops = 0;
  let isOver = false;
  const count = (): void => {
    loops++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const done: (readonly [string, number])[] = [];
  const work = async (name: string): Promise<void> => {
    for (let piece = 0; piece < 3; piece++) {
      await turns.next();
      done.push([name, loops]);
    }
  };
  await Promise.all([work("a"), work("b")]);
  isOver = true;
  expect(done.map(([name]) => name)).toEqual(["a", "b", "a", "b", "a", "b"]);
  const at = done.map(([, loop]) => loop);
  expect(new Set(at).size).toBe(at.length);
});
