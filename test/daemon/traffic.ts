// Traffic between two namespaces that is counted: flow.ts in each.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestNamespace } from "../support/netns.ts";
import type { FlowCount } from "./flow.ts";

export interface Traffic extends Disposable {
  /** Resolves when the first datagram has been sent. */
  readonly begun: Promise<unknown>;
  /** Ends it, and counts. */
  readonly end: () => Promise<FlowCount>;
}

/** @param address of `to`. */
export function startTraffic(from: TestNamespace, to: TestNamespace, address: string): Traffic {
  const program = join(import.meta.dirname, "flow.ts");
  const start = (namespace: TestNamespace, ...args: readonly string[]) =>
    spawn("ip", ["netns", "exec", namespace.name, process.execPath, program, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
  const server = start(to, "serve");
  const stack = new DisposableStack();
  stack.defer(() => server.kill("SIGKILL"));
  const client = once(server.stdout, "data").then(() => {
    const sender = start(from, "send", address);
    stack.defer(() => sender.kill("SIGKILL"));
    return sender;
  });
  const counted = client.then(({ stdout }) => text(stdout));
  return {
    begun: client,
    end: async (): Promise<FlowCount> => {
      (await client).stdin.end();
      const count: FlowCount = JSON.parse(await counted);
      stack.dispose();
      return count;
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}
