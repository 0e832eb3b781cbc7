// As much TCP as passes, from one network namespace to another. As a program: `receive ADDRESS` prints
// "listening", then how many bits a second came; `send ADDRESS` sends until it is told off.
import { type ChildProcess, spawn } from "node:child_process";
import { createConnection, createServer } from "node:net";
import { createInterface } from "node:readline";
import { argv } from "node:process";
import type { TestNamespace } from "../support/netns.ts";

const port = 5201;
const durationMs = 1_500;

/** Bits a second that arrive at `to`, over a second and a half. */
export async function throughput(
  from: TestNamespace,
  to: TestNamespace,
  address: string,
): Promise<number> {
  const receiver = start(to, "receive", address);
  const lines = createInterface({ input: receiver.stdout! })[Symbol.asyncIterator]();
  await lines.next();
  const sender = start(from, "send", address);
  try {
    return Number((await lines.next()).value);
  } finally {
    for (const child of [sender, receiver]) child.kill("SIGKILL");
  }
}

const start = (namespace: TestNamespace, ...args: readonly string[]): ChildProcess =>
  spawn("ip", ["netns", "exec", namespace.name, process.execPath, import.meta.filename, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });

function receive(address: string): void {
  const server = createServer((socket) => {
    let octets = 0;
    let startMs = 0;
    socket.on("data", (chunk) => {
      if (startMs === 0) startMs = performance.now();
      else octets += chunk.length;
      const elapsedMs = performance.now() - startMs;
      if (elapsedMs < durationMs) return;
      process.stdout.write(`${Math.round((octets * 8000) / elapsedMs)}\n`, () => process.exit());
    });
  });
  server.listen(port, address, () => process.stdout.write("listening\n"));
}

function send(address: string): void {
  const socket = createConnection({ host: address, port });
  const chunk = Buffer.alloc(65_536);
  const fill = (): void => {
    while (socket.write(chunk));
  };
  socket.on("connect", fill).on("drain", fill);
  socket.on("error", () => process.exit());
}

if (import.meta.main) {
  const [role, address = ""] = argv.slice(2);
  (role === "receive" ? receive : send)(address);
}
