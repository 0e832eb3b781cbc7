// The launcher, executed as a runtime executes it, and what it may find at the other end: a home whose
// "node" tells what it was given, and a socket that behaves in a given way.
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type Socket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import {
  type LauncherReply,
  type LauncherRequest,
  decodeRequest,
  encodeReply,
  requestLength,
} from "../../core/cni/launcher-protocol.ts";
import { compileLauncher } from "../../scripts/compile-launcher.ts";

export interface LauncherSetup extends Disposable {
  readonly directory: string;
  readonly launcher: string;
  /** A home whose `node` prints `local SCRIPT`, the octets of its input, its descriptors. */
  readonly home: string;
}

/** A launcher with these times, and a home; FAIRLEAD_HOME is still to be set. */
export function createLauncher(times: {
  readonly deadlineMs: number;
  readonly retryMs: number;
}): LauncherSetup {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-launcher-"));
  const launcher = join(directory, "fairlead");
  compileLauncher(launcher, [`DEADLINE_MS=${times.deadlineMs}`, `RETRY_MS=${times.retryMs}`]);
  const home = join(directory, "home");
  writeTellingHome(home);
  return {
    directory,
    launcher,
    home,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

export function writeTellingHome(home: string): void {
  mkdirSync(home, { recursive: true });
  const node = join(home, "node");
  // Of descriptors it tells those that could be ours; its own script is open besides.
  writeFileSync(
    node,
    `#!/bin/sh
echo "local \${1##*/}"
echo "input $(cat | wc -c)"
echo "sigpipe-ignored $(( 0x$(awk '/SigIgn/ { print $2 }' /proc/$$/status) >> 12 & 1 ))"
for fd in /proc/$$/fd/*; do
  case "$(readlink "$fd")" in socket:*|pipe:*|*memfd:*|net:*) echo "open \${fd##*/} $(readlink "$fd")";; esac
done
`,
  );
  chmodSync(node, 0o755);
}

export interface LauncherRun {
  readonly launcher: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdin?: string | Buffer;
  /** Standard input does not end. */
  readonly isStdinOpen?: boolean;
  /** Standard output is a pipe that nobody reads from. */
  readonly isStdoutClosed?: boolean;
  /** Called with the process's id as soon as there is one. */
  readonly onStart?: (pid: number) => void;
}

export interface LauncherOutcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export async function runLauncher(run: LauncherRun): Promise<LauncherOutcome> {
  const startedAtMs = performance.now();
  const child = spawn(run.launcher, run.args ?? [], {
    env: { PATH: process.env["PATH"], CNI_COMMAND: "ADD", ...run.env },
    stdio: "pipe",
  });
  if (child.pid !== undefined) run.onStart?.(child.pid);
  // A launcher that does not read its input is no failure of the test's.
  child.stdin.on("error", () => undefined);
  child.stdin.write(run.stdin ?? "");
  if (run.isStdinOpen !== true) child.stdin.end();
  if (run.isStdoutClosed === true) child.stdout.destroy();
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status, signal) => resolve([status, signal]));
  });
  const output = Promise.all([
    run.isStdoutClosed === true ? "" : text(child.stdout),
    text(child.stderr),
  ]);
  const [status, signal] = await ended;
  const ms = performance.now() - startedAtMs;
  child.stdin.destroy();
  const [stdout, stderr] = await output;
  return { status, signal, stdout, stderr, ms };
}

export interface TestSocket extends AsyncDisposable {
  readonly path: string;
  /** Connections so far. */
  readonly count: number;
}

/** A socket where each connection is handled so; `index` counts them from 0. */
export async function listenRaw(
  path: string,
  handle: (socket: Socket, index: number) => void,
): Promise<TestSocket> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    handle(socket, count++);
  });
  await new Promise<void>((resolve) => void server.listen(path, resolve));
  return {
    path,
    get count() {
      return count;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A socket that takes whole requests and sends what `answer` gives: a reply, or octets as they are. */
export const listen = (
  path: string,
  answer: (request: LauncherRequest, index: number) => LauncherReply | Buffer,
): Promise<TestSocket> =>
  listenRaw(path, (socket, index) => {
    let received = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < (requestLength(received) ?? Infinity)) return;
      const reply = answer(decodeRequest(received), index);
      socket.end(Buffer.isBuffer(reply) ? reply : encodeReply(reply));
    });
  });
