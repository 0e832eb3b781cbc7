import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { endProcesses, identify, isAlive, processesInMountNamespace } from "./process.ts";

const signal = new AbortController().signal;

function start(command: string, ...args: readonly string[]): ReturnType<typeof spawn> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

test("identify() tells a process from a later one with its pid", () => {
  const self = identify(process.pid)!;
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTicks: self.startTicks - 1 })).toBe(false);
});

test("identify() reads past a name with spaces and parentheses", async () => {
  const child = start("sh", "-c", `printf ') 1 (' >/proc/self/comm; echo; exec sleep 100`);
  await once(child.stdout!, "data");
  expect(identify(child.pid!)?.startTicks).toBeGreaterThanOrEqual(
    identify(process.pid)!.startTicks,
  );
});

test("identify() knows no process that has ended", async () => {
  const child = start("true");
  await once(child, "exit");
  expect(identify(child.pid!)).toBeUndefined();
});

test("endProcesses() makes end what does not end when asked", async () => {
  const polite = start("sleep", "100");
  const deaf = start("sh", "-c", `trap "" TERM; echo; while :; do sleep 1; done`);
  await once(deaf.stdout!, "data");
  const both = [polite, deaf].map((child) => identify(child.pid!)!);
  await endProcesses(both, signal, 100);
  expect(both.some(isAlive)).toBe(false);
});

test("endProcesses() leaves a process alone that has another's pid", async () => {
  const child = start("sleep", "100");
  const identity = identify(child.pid!)!;
  await endProcesses([{ ...identity, startTicks: identity.startTicks - 1 }], signal);
  expect(isAlive(identity)).toBe(true);
});

test("processesInMountNamespace() never takes the machine's own processes for the lab's", () => {
  expect(processesInMountNamespace("/proc/self/ns/mnt")).toEqual([]);
});
