// A sample of ./run soak fuzz.
import { expect, test } from "vitest";
import { fuzzDispatcher, fuzzLauncher, fuzzServer } from "./fuzz.ts";

const seed = Number(process.env["FAIRLEAD_SOAK_SEED"] ?? Date.now() % 2 ** 31);

test(`the dispatcher and the handlers behind it end every request as specified (seed ${seed})`, async () => {
  const outcomes = await fuzzDispatcher({ count: 2_000, seed });
  // Every kind of answer, or the inputs prove nothing.
  for (const outcome of ["ok", "1", "4", "6", "7"]) expect(outcomes[outcome]).toBeGreaterThan(0);
});

test(`the server answers or closes every connection, and keeps none (seed ${seed})`, async () => {
  const outcomes = await fuzzServer({ count: 1_000, seed });
  for (const outcome of ["ok", "closed"]) expect(outcomes[outcome]).toBeGreaterThan(0);
});

test(`the launcher prints whole replies and does without broken ones (seed ${seed})`, async () => {
  const outcomes = await fuzzLauncher({ count: 100, seed });
  for (const outcome of ["printed", "local"]) expect(outcomes[outcome]).toBeGreaterThan(0);
});
