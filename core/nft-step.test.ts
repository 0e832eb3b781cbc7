import { expect, test } from "vitest";
import { formatNftSteps } from "./nft-step.ts";

test("formatNftSteps() says each thing once, and of many the first and their number", () => {
  const step = (n: number) => ({ done: `add set ${n}`, found: "no table" });
  expect(formatNftSteps([step(1), step(1), step(2)])).toEqual({
    done: "add set 1, add set 2",
    found: "no table",
  });
  expect(formatNftSteps(Array.from({ length: 40 }, (_, n) => step(n)))).toEqual({
    done: "add set 0, add set 1, add set 2 and 37 more",
    found: "no table",
  });
});
