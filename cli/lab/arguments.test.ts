import { describe, expect, test } from "vitest";
import { checkName, collectLabel, parseNodeCount, resolveDirectory } from "./arguments.ts";

describe("parseNodeCount()", () => {
  test.each([
    ["1", 1],
    ["100", 100],
  ])("takes %s", (text, count) => expect(parseNodeCount(text)).toBe(count));
  test.each(["0", "101", "-1", "1.5", "three", ""])("refuses %j", (text) => {
    expect(() => parseNodeCount(text)).toThrow(`"${text}" nodes: expected a number from 1 to 100`);
  });
});

test("collectLabel() keeps the others, and takes an empty value", () => {
  expect(collectLabel("b=x=y", collectLabel("a=", {}))).toEqual({ a: "", b: "x=y" });
  expect(() => collectLabel("a", {})).toThrow('the label "a": expected key=value');
  expect(() => collectLabel("=a", {})).toThrow('the label "=a": expected key=value');
});

describe("checkName()", () => {
  test.each(["a", "web-0", "x".repeat(63)])("takes %s", (name) => checkName("pod", name));
  test.each(["", "-a", "a-", "A", "a/b", "..", "x".repeat(64)])("refuses %j", (name) => {
    expect(() => checkName("pod", name)).toThrow(`name a pod "${name}"`);
  });
});

test("resolveDirectory() is absolute and without links, also for what is not there yet", () => {
  expect(resolveDirectory("/proc/self/../lab")).toBe("/proc/lab");
  expect(resolveDirectory("lab")).toBe(`${process.cwd()}/lab`);
  expect(resolveDirectory("/proc/self/lab")).toBe(`/proc/${process.pid}/lab`);
  expect(resolveDirectory("/nonexistent/lab/")).toBe("/nonexistent/lab");
});
