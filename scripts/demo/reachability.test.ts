import { expect, test } from "vitest";
import type { LabPod } from "../../cli/lab/pod.ts";
import { formatMatrix, type Reach, summarize } from "./reachability.ts";

const pod = (name: string): LabPod => ({
  name,
  namespace: "demo",
  node: "node-a",
  labels: {},
  containerId: "",
  netns: "",
  addresses: [],
  addMs: 0,
});
const reach = (from: string, to: string, problem = ""): Reach => ({
  from,
  to,
  problem,
  shown: "0.1",
});

test("formatMatrix() shows what worked, what failed, and what was not tried", () => {
  const reaches = [reach("a", "b"), reach("b", "a", "no answer"), reach("a", "c")];
  expect(formatMatrix([pod("a"), pod("b"), pod("c")], reaches)).toMatchInlineSnapshot(`
    "     a       b       c
      a  ·       0.1     0.1
      b  FAILED  ·       FAILED
      c  FAILED  FAILED  ·
    "
  `);
});

test("summarize() counts, and tells the first problem", () => {
  expect(summarize([reach("a", "b"), reach("b", "a")])).toBe("2 of 2 pairs");
  expect(summarize([reach("a", "b"), reach("b", "a", "no answer")])).toBe(
    "1 of 2 pairs; b → a: no answer",
  );
});
