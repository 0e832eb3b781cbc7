// One connection of a launcher: a request, the answer to it, the end.
import { closeSync, constants, openSync } from "node:fs";
import { ownIpamType } from "../../core/cni/config.ts";
import {
  type CniRequest,
  errorReply,
  formatAbout,
  lateError,
  perform,
  readRequest,
} from "../../core/cni/dispatch.ts";
import {
  type LauncherProgram,
  type LauncherReply,
  type LauncherRequest,
  decodeRequest,
  encodeReply,
  requestLength,
} from "../../core/cni/launcher-protocol.ts";
import type { CniHandlers, CniReply } from "../../core/cni/types.ts";
import type { Log } from "../../core/log.ts";
import { version } from "../../core/version.ts";
import { peerCredentials } from "../../kernel/unix-socket.ts";
import type { AcceptedSocket } from "./accepted-socket.ts";
import type { Promptness } from "./promptness.ts";
import type { PutOff } from "./put-off.ts";
import { canStandIn } from "./stand-in.ts";

/** What serves each of the launcher's programs. */
export type ProgramHandlers = Readonly<Record<LauncherProgram, CniHandlers>>;

export interface CniConnectionContext {
  readonly handlers: ProgramHandlers;
  readonly log: Log;
  readonly deadlines: CniDeadlines;
  readonly putOff?: PutOff | undefined;
  readonly promptness: Promptness;
}

export interface CniDeadlines {
  /** From the connection to the whole request. */
  readonly receiveMs: number;
  /** Then the handler's signal is aborted. */
  readonly handlerMs: number;
  /** Then the launcher gets error 11, whatever the handler does. */
  readonly replyMs: number;
}

// Most requests are answered by then, of a burst too, and nobody need watch for the launcher's end.
const watchAfterMs = 50;

/** Serves the connection until its reply is on its way. Throws when it deserves none. */
export async function serveConnection(
  socket: AcceptedSocket,
  context: CniConnectionContext,
): Promise<void> {
  const { pid, uid } = peerCredentials(socket.fd);
  if (uid !== 0) throw new Error(`Cannot serve user ${uid}: expected root`);
  const request = decodeRequest(await receiveRequest(socket, context));
  const stop = new AbortController();
  const watching = setTimeout(() => {
    if (socket.isOpen) socket.stream().resume();
    void socket.closed.then(() => stop.abort(new Error("The launcher is gone")));
  }, watchAfterMs);
  try {
    // Without a pid (the launcher is in a PID namespace that we cannot see into) there is no getting
    // at its descriptors.
    const reply = pid === 0 ? "runLocally" : await answer(request, pid, context, stop);
    socket.end(encodeReply(reply));
  } finally {
    clearTimeout(watching);
  }
}

async function answer(
  { program, environment, stdin, netnsFd }: LauncherRequest,
  pid: number,
  { handlers, log, deadlines, putOff }: CniConnectionContext,
  stop: AbortController,
): Promise<LauncherReply> {
  const read = await readRequest({
    environment,
    readStdin: async () => stdin.toString("utf8"),
    isIpam: program === "fairlead-ipam",
    about: formatAbout(program, version),
  });
  if (read.kind === "answered") return read.reply;
  if (!isForUs(program, pid, read)) return "runLocally";
  const startedAtMs = performance.now();
  const stopLate = () => stop.abort(new Error("The request takes too long"));
  const timer = setTimeout(stopLate, deadlines.handlerMs).unref();
  const handle = async (): Promise<CniReply> => {
    // Held until the handler is done with it, whoever is still waiting.
    using opened = new DisposableStack();
    // DEL does nothing in it.
    const wanted = read.command === "DEL" ? undefined : netnsFd;
    const sandbox = opened.use(openSandboxFile(pid, wanted));
    const request = withSandbox(read, sandbox.path);
    const reply = await perform(request, handlers[program], stop.signal);
    putOff?.add(opened.move());
    return reply;
  };
  const handling = handle().finally(() => clearTimeout(timer));
  const reply = await beforeDeadline(handling, read, deadlines.replyMs);
  const tookMs = performance.now() - startedAtMs;
  logReply(log, read, { program, reply, tookMs });
  return reply;
}

function isForUs(program: LauncherProgram, pid: number, { request }: CniRequest): boolean {
  const { ipam } = request.conf;
  if (program === "fairlead-ipam") return canStandIn(pid, ipam);
  // Its IPAM plugin is to run where the runtime runs: with its files, its limits, its lifetime.
  return ipam.type === ownIpamType;
}

async function beforeDeadline(
  handling: Promise<CniReply>,
  { command, request }: CniRequest,
  deadlineMs: number,
): Promise<CniReply> {
  const { promise: late, resolve } = Promise.withResolvers<CniReply>();
  const answerLate = () => resolve(errorReply(lateError(command), request.conf.cniVersion));
  const timer = setTimeout(answerLate, deadlineMs).unref();
  try {
    return await Promise.race([handling, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface SandboxFile extends Disposable {
  readonly path: string;
}

/**
 * The launcher's descriptor, opened as ours: from here the launcher may die and its pid go to another.
 * What does not exist for the launcher does not for us: a path that no file has.
 */
function openSandboxFile(pid: number, netnsFd: number | undefined): SandboxFile {
  const none = { path: "/proc/self/fd/none", [Symbol.dispose]: () => {} };
  if (netnsFd === undefined) return none;
  try {
    // Not blocking: CNI_NETNS may name a pipe.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const fd = openSync(`/proc/${pid}/fd/${netnsFd}`, flags);
    return { path: `/proc/self/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
  } catch {
    return none;
  }
}

function withSandbox(read: CniRequest, netnsFile: string): CniRequest {
  if (read.command === "GC" || read.command === "STATUS" || read.request.netns === "") return read;
  return { command: read.command, request: { ...read.request, netnsFile } };
}

/** One whole request; what a launcher sends after it, which is nothing, is ignored. */
async function receiveRequest(
  socket: AcceptedSocket,
  { promptness, deadlines: { receiveMs: deadlineMs } }: CniConnectionContext,
): Promise<Buffer> {
  // Who has connected has nothing to do but to send: its request is there, usually whole.
  let received = promptness.receiveFirst(socket);
  const isComplete = (): boolean => received.length >= (requestLength(received) ?? Infinity);
  if (isComplete()) return received;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const stream = socket.stream();
  const take = (chunk: Buffer): void => {
    received = Buffer.concat([received, chunk]);
    try {
      if (isComplete()) resolve(received);
    } catch (error) {
      reject(error);
    }
  };
  stream.on("data", take);
  stream.once("close", () => reject(new Error("The connection ended within a request")));
  const late = () => reject(new Error(`No whole request came within ${deadlineMs} ms`));
  const timer = setTimeout(late, deadlineMs);
  try {
    return await promise;
  } finally {
    stream.off("data", take);
    clearTimeout(timer);
  }
}

interface Served {
  readonly program: LauncherProgram;
  readonly reply: CniReply;
  readonly tookMs: number;
}

function logReply(log: Log, read: CniRequest, { program, reply, tookMs }: Served): void {
  const { command, request } = read;
  const fields = {
    program,
    command,
    network: request.conf.name,
    ...("key" in request
      ? { containerId: request.key.containerId, ifName: request.key.ifName }
      : {}),
    tookMs: Math.round(tookMs * 10) / 10,
  };
  if (reply.exitStatus === 0) log.debug(fields, "CNI request served");
  else log.warn({ ...fields, error: reply.stdout }, "CNI request failed");
}
