// Standard input, output and error of a process that serves one request.
import { writeSync } from "node:fs";
import type { Readable } from "node:stream";
import { CniCode, CniError } from "../core/cni/error.ts";
import { limits } from "../core/cni/launcher-protocol.ts";
import { describeError, hasErrno } from "../core/error.ts";
import type { Log, LogFields } from "../core/log.ts";

/**
 * All of it, up to what a request may have. Throws CniError ioFailure beyond that, and rejects with
 * the stream's error or the signal's reason; either way the stream is closed.
 */
export async function readRequestText(stream: Readable, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  const stop = () => stream.destroy(new Error("Standard input did not end in time"));
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  try {
    for await (const chunk of stream) {
      const bytes: Buffer = chunk;
      length += bytes.length;
      if (length > limits.stdin) {
        throw new CniError(
          CniCode.ioFailure,
          `Cannot read standard input: expected at most ${limits.stdin} octets`,
        );
      }
      chunks.push(bytes);
    }
    return Buffer.concat(chunks).toString("utf8");
  } finally {
    signal.removeEventListener("abort", stop);
    stream.destroy();
  }
}

// Runtimes send VERSION with an input that ends at once; its answer needs none.
const versionInputMs = 200;

/** Until when a verb's input is waited for. */
export const inputDeadline = (command: string | undefined, deadline: AbortSignal): AbortSignal =>
  command === "VERSION" ? AbortSignal.timeout(versionInputMs) : deadline;

// A reader that takes nothing for that long is stuck.
const writeDeadlineMs = 5_000;

/**
 * Writes everything before it returns, so that the process may end. False when the other end takes no
 * more.
 */
export function writeAll(fd: number, text: string): boolean {
  const bytes = Buffer.from(text);
  const giveUpAtMs = performance.now() + writeDeadlineMs;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let written = 0; written < bytes.length;) {
    try {
      written += writeSync(fd, bytes, written);
    } catch (error) {
      // A pipe that somebody made non-blocking is full.
      if (!hasErrno(error, "EAGAIN")) return false;
      if (performance.now() > giveUpAtMs) return false;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
  return true;
}

// JSON has no errors: they would all be {}.
const errorAsText = (_key: string, value: unknown): unknown =>
  value instanceof Error ? describeError(value) : value;

/** One line per message on standard error, which runtimes put into their own log. */
export function standardErrorLog(program: string): Log {
  const line = (level: string) => (fields: LogFields, message: string) => {
    writeAll(2, `${program}: ${level}: ${message} ${JSON.stringify(fields, errorAsText)}\n`);
  };
  return { debug: () => {}, info: line("info"), warn: line("warn"), error: line("error") };
}
