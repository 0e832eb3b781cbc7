import { expect, test } from "vitest";
import { type Log, silentLog } from "../../core/log.ts";
import type { StatusProblem } from "../../core/status.ts";
import { aNode } from "../../test/support/builders.ts";
import { nodeA, nodeB } from "../../test/support/overlay.ts";
import { scene } from "../../test/support/reconciler.ts";
import { ProblemLog } from "./problem-log.ts";

function record() {
  const lines: string[] = [];
  const keep =
    (level: string): Log["warn"] =>
    ({ problem, more }, message) =>
      void lines.push(`${level} ${message}: ${String(problem ?? more)}`);
  return { lines, log: { ...silentLog, info: keep("info"), warn: keep("warn") } };
}

const aProblem = (message: string): StatusProblem => ({ area: "node", message });

test("tells of a problem when it begins and when it is over, not in between", () => {
  const { lines, log } = record();
  const problems = new ProblemLog(log);
  problems.tell([]);
  problems.tell([aProblem("down")]);
  problems.tell([aProblem("down")]);
  problems.tell([aProblem("strict"), aProblem("down")]);
  problems.tell([aProblem("strict")]);
  problems.tell([aProblem("strict")]);
  expect(lines).toEqual([
    "warn problem of the network: down",
    "warn problem of the network: strict",
    "info a problem of the network is over: down",
  ]);
});

test("names some of many, and counts the others", () => {
  const { lines, log } = record();
  const problems = new ProblemLog(log);
  problems.tell(Array.from({ length: 5000 }, (_, i) => aProblem(`problem ${i}`)));
  expect(lines).toHaveLength(17);
  expect(lines.at(-1)).toBe("warn further problems of the network are in the status: 4984");
  lines.length = 0;
  problems.tell([]);
  expect(lines).toHaveLength(17);
  expect(lines.at(-1)).toBe("info further problems of the network are over: 4984");
});

test("the reconciler tells of nodes that it cannot use, and of nodes that it can again", async () => {
  const { lines, log } = record();
  const { source, reaches } = scene("", undefined, log);
  const told = (): string[] => lines.filter((line) => line.includes("network"));
  source.setNodes(nodeA, nodeB, aNode("node-x", "172.30.2.19", "10.99.0.0/24"));
  const { problems } = await reaches((state) => state.problems.length > 0);
  const [outside] = problems;
  expect(told()).toEqual([`warn problem of the network: ${outside?.message}`]);
  source.setNodes(nodeA, nodeB);
  await reaches((state) => state.problems.length === 0);
  expect(told().slice(1)).toEqual([`info a problem of the network is over: ${outside?.message}`]);
});
