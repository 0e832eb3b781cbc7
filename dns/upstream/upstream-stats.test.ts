import { expect, test } from "vitest";
import { SharedUpstreamStats } from "./upstream-stats.ts";

test("SharedUpstreamStats counts by upstream, and goes on counting over the same memory", () => {
  const stats = new SharedUpstreamStats();
  stats.of("192.0.2.53:53").countRequest();
  stats.of("192.0.2.53:53").countAnswer(3, 20);
  const again = new SharedUpstreamStats(stats.buffer);
  again.of("192.0.2.54:53").countRequest();
  again.of("192.0.2.53:53").countFailure(1000);
  again.of("192.0.2.53:53").setUp(false, "no answer within 1000 ms");
  const [first, second, ...more] = stats.read();
  expect(more).toEqual([]);
  expect(first).toMatchObject({
    upstream: "192.0.2.53:53",
    requests: 1,
    responses: { NXDOMAIN: 1, none: 1, NOERROR: 0 },
    durations: { count: 2, sum: 1.02 },
    problem: "no answer within 1000 ms",
  });
  expect(second).toMatchObject({ upstream: "192.0.2.54:53", requests: 1 });
  again.of("192.0.2.53:53").setUp(true);
  expect(stats.read()[0]).not.toHaveProperty("problem");
});

test("past its bound all further upstreams are counted together", () => {
  const stats = new SharedUpstreamStats();
  for (let n = 0; n < 100; n++) stats.of(`192.0.2.${n}:53`).countRequest();
  const read = stats.read();
  expect(read).toHaveLength(64);
  expect(read.at(-1)).toMatchObject({ upstream: "others", requests: 37 });
});
