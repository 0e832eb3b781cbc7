// Queries at a steady rate from a machine, counted: steady-queries.ts as a process in it.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { TestMachine } from "./node-process.ts";
import type { QueryFigures } from "./steady-queries.ts";

/** The DNS service's, of conf/demo. */
export const dnsAddress = "10.96.0.10";

export interface Asking {
  /** Resolves when all that was asked is answered or lost. */
  finish(): Promise<QueryFigures>;
}

/** Resolves when it asks. */
export async function startAsking(
  machine: TestMachine,
  perSecond: number,
  kind = "all",
): Promise<Asking> {
  const script = join(import.meta.dirname, "steady-queries.ts");
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(
    "nsenter",
    [`--net=${machine.network}`, process.execPath, script, dnsAddress, String(perSecond), kind],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value: first } = await lines.next();
  if (first !== "asking") throw new Error(`Cannot ask: ${first}`);
  return {
    finish: async () => {
      child.stdin.end();
      const { value } = await lines.next();
      await once(child, "close");
      return JSON.parse(value as string) as QueryFigures;
    },
  };
}
