// What the launcher (plugin/launcher.c) and the daemon say to each other: one request and one reply
// per connection, each a fixed header and bodies whose lengths the header gives. Numbers are 32 bits,
// little-endian. The limits are the launcher's too.
//
// Request:  magic "FLrq" of fairlead or "FLip" of fairlead-ipam, version, descriptor of CNI_NETNS or -1, length of environment and input;
//           environment as execve has it (each string ends in NUL), standard input.
// Reply:    magic "FLrp", kind, exit status, length of standard output and standard error; the two.
import type { CniReply, Environment } from "./types.ts";

const protocolVersion = 1;

/** Octets. Linux refuses an environment larger than that, a configuration has a few kilobytes. */
export const limits = {
  environment: 2 * 1024 * 1024,
  stdin: 1024 * 1024,
  stdout: 4 * 1024 * 1024,
  stderr: 1024 * 1024,
} as const;

/**
 * The launcher gives a request 20 s, of which it may spend one on reaching the daemon. Before that the
 * handler is told to stop and undo, and what is not answered then is answered with error 11.
 */
export const deadlines = { handlerMs: 16_500, replyMs: 18_500 } as const;

/**
 * By which a daemon tells the programs apart. Each has its own, so that an older daemon refuses a
 * request of fairlead-ipam, which then runs without it, and still serves fairlead.
 */
const requestMagics = { fairlead: "FLrq", "fairlead-ipam": "FLip" } as const;
const replyMagic = "FLrp";
const requestHeaderLength = 20;
const replyHeaderLength = 20;
const replyKind = { done: 0, runLocally: 1 } as const;

/** The plugin that the launcher was called as. */
export type LauncherProgram = keyof typeof requestMagics;

export interface LauncherRequest {
  readonly program: LauncherProgram;
  readonly environment: Environment;
  readonly stdin: Buffer;
  /** Open in the launcher; undefined when CNI_NETNS is empty, or names nothing there. */
  readonly netnsFd: number | undefined;
}

function programOf(magic: string): LauncherProgram {
  if (magic === requestMagics.fairlead) return "fairlead";
  if (magic === requestMagics["fairlead-ipam"]) return "fairlead-ipam";
  throw new ProtocolError("Not a launcher's request");
}

/** `runLocally`: the daemon leaves it to the launcher to run the plugin without it. */
export type LauncherReply = CniReply | "runLocally";

/** The frame breaks the protocol; there is no answer but to close the connection. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/**
 * How long the request will be, once its header is there: undefined before. Throws ProtocolError for
 * a header that is not ours, of another version, or beyond a limit.
 */
export function requestLength(received: Buffer): number | undefined {
  const header = received.subarray(0, requestHeaderLength);
  const magic = header.toString("latin1", 0, Math.min(header.length, 4));
  const magics = Object.values(requestMagics);
  if (!magics.some((known) => known.startsWith(magic))) {
    throw new ProtocolError("Not a launcher's request");
  }
  if (header.length < requestHeaderLength) return undefined;
  const version = header.readUInt32LE(4);
  if (version !== protocolVersion) {
    throw new ProtocolError(`Cannot speak version ${version} of the launcher's protocol`);
  }
  const [environmentLength, stdinLength] = [header.readUInt32LE(12), header.readUInt32LE(16)];
  checkLength("environment", environmentLength);
  checkLength("stdin", stdinLength);
  return requestHeaderLength + environmentLength + stdinLength;
}

/** Decodes exactly one whole request. Throws ProtocolError for anything else. */
export function decodeRequest(frame: Buffer): LauncherRequest {
  const length = requestLength(frame);
  if (length !== frame.length) {
    throw new ProtocolError(`A request of ${length ?? "unknown"} octets came with ${frame.length}`);
  }
  const netnsFd = frame.readInt32LE(8);
  const stdinStart = requestHeaderLength + frame.readUInt32LE(12);
  return {
    program: programOf(frame.toString("latin1", 0, 4)),
    environment: decodeEnvironment(frame.subarray(requestHeaderLength, stdinStart)),
    stdin: frame.subarray(stdinStart),
    netnsFd: netnsFd < 0 ? undefined : netnsFd,
  };
}

export function encodeRequest({ program, environment, stdin, netnsFd }: LauncherRequest): Buffer {
  const block = Buffer.from(
    Object.entries(environment)
      .map(([name, value]) => `${name}=${value}\0`)
      .join(""),
  );
  checkLength("environment", block.length);
  checkLength("stdin", stdin.length);
  const header = Buffer.alloc(requestHeaderLength);
  header.write(requestMagics[program], "latin1");
  header.writeUInt32LE(protocolVersion, 4);
  header.writeInt32LE(netnsFd ?? -1, 8);
  header.writeUInt32LE(block.length, 12);
  header.writeUInt32LE(stdin.length, 16);
  return Buffer.concat([header, block, stdin]);
}

/** Throws ProtocolError when the reply is too long to be told. */
export function encodeReply(reply: LauncherReply): Buffer {
  const isLocal = reply === "runLocally";
  const stdout = Buffer.from(isLocal ? "" : reply.stdout);
  const stderr = Buffer.from(isLocal ? "" : reply.stderr);
  checkLength("stdout", stdout.length);
  checkLength("stderr", stderr.length);
  const header = Buffer.alloc(replyHeaderLength);
  header.write(replyMagic, "latin1");
  header.writeUInt32LE(isLocal ? replyKind.runLocally : replyKind.done, 4);
  header.writeUInt32LE(isLocal ? 0 : reply.exitStatus, 8);
  header.writeUInt32LE(stdout.length, 12);
  header.writeUInt32LE(stderr.length, 16);
  return Buffer.concat([header, stdout, stderr]);
}

/** Decodes exactly one whole reply. Throws ProtocolError for anything else. */
export function decodeReply(frame: Buffer): LauncherReply {
  if (frame.length < replyHeaderLength || frame.toString("latin1", 0, 4) !== replyMagic) {
    throw new ProtocolError("Not a reply to a launcher");
  }
  const [stdoutLength, stderrLength] = [frame.readUInt32LE(12), frame.readUInt32LE(16)];
  if (replyHeaderLength + stdoutLength + stderrLength !== frame.length) {
    throw new ProtocolError(`An incomplete reply of ${frame.length} octets`);
  }
  switch (frame.readUInt32LE(4)) {
    case replyKind.runLocally:
      return "runLocally";
    case replyKind.done: {
      const stderrStart = replyHeaderLength + stdoutLength;
      return {
        exitStatus: frame.readUInt32LE(8),
        stdout: frame.toString("utf8", replyHeaderLength, stderrStart),
        stderr: frame.toString("utf8", stderrStart),
      };
    }
    default:
      throw new ProtocolError(`An unknown kind of reply: ${frame.readUInt32LE(4)}`);
  }
}

function checkLength(what: keyof typeof limits, length: number): void {
  if (length > limits[what]) {
    throw new ProtocolError(`${what} of ${length} octets: at most ${limits[what]} are taken`);
  }
}

// As getenv has it: the first of a repeated name counts, a string without "=" is no variable.
function decodeEnvironment(block: Buffer): Environment {
  const environment: Record<string, string> = Object.create(null);
  for (const entry of block.toString("utf8").split("\0")) {
    const cut = entry.indexOf("=", 1);
    if (cut < 1) continue;
    environment[entry.slice(0, cut)] ??= entry.slice(cut + 1);
  }
  return environment;
}
