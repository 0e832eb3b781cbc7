// A sample of ./run soak dns.
import { expect, test } from "vitest";
import { flood, fuzzQueries, fuzzUpstream } from "./fuzz.ts";

const seed = Number(process.env["FAIRLEAD_SOAK_SEED"] ?? Date.now() % 2 ** 31);
const timeout = 120_000;

test.each(["batched", "plain"] as const)(
  `answers or drops what is no query, and goes on (%s, seed ${seed})`,
  { timeout },
  async (udp) => {
    const outcomes = await fuzzQueries({ count: 3_000, seed, udp });
    // Every kind of answer, or the messages prove nothing: NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED.
    for (const rcode of ["0", "1", "3", "4", "5"]) expect(outcomes[rcode]).toBeGreaterThan(0);
  },
);

test(
  `believes no upstream that did not answer the question (seed ${seed})`,
  { timeout },
  async () => {
    const { real = 0, sent = 0 } = await fuzzUpstream({ count: 200, seed });
    expect(real).toBeGreaterThan(sent / 2);
  },
);

test("serves others while one client asks all it can", { timeout }, async () => {
  const { flooded, answered } = await flood({ ms: 2_000 });
  expect(flooded).toBeGreaterThan(1_000);
  expect(answered).toBeGreaterThan(0);
});
