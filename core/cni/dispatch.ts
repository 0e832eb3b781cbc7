// One CNI request, from environment and standard input to what the process prints. The order of the
// checks decides which error wins; it is the reference dispatcher's.
import { describeError } from "../error.ts";
import { parseCniArgs } from "./args.ts";
import type { ConfHeader } from "./config.ts";
import { checkEnvironment, cniCommands, isCniCommand } from "./environment.ts";
import { CniCode, CniError } from "./error.ts";
import { member } from "./json.ts";
import { knownConfHeader, knownNetConf } from "./known-conf.ts";
import { formatResult } from "./result.ts";
import {
  type AttachmentRequest,
  type CniCommand,
  type CniHandlers,
  type CniReply,
  type CniVersion,
  type Environment,
  type NetworkRequest,
  cniVersions,
} from "./types.ts";
import {
  type VersionParts,
  compareVersions,
  isSupportedVersion,
  newestVersion,
  parseVersion,
  unnamedVersion,
} from "./version.ts";

/** How a plugin process was called. */
export interface CniInvocation {
  readonly environment: Environment;
  /**
   * The whole of standard input; called at most once. A failure is error 5, but for VERSION, which
   * answers all the same: for it this should not wait for input that does not come.
   */
  readonly readStdin: () => Promise<string>;
  /** The program is an IPAM plugin: `ipam` is its own, by whatever name it was installed. */
  readonly isIpam?: boolean;
  /** Printed when CNI_COMMAND is not set; see {@link formatAbout}. */
  readonly about: string;
}

/** A request that passed every check that needs no handler. */
export type CniRequest =
  | Requested<"ADD" | "DEL" | "CHECK", AttachmentRequest>
  | Requested<"GC" | "STATUS", NetworkRequest>;

// One member per verb, so that looking at the verb narrows the request.
type Requested<Command extends CniCommand, Request> = Command extends CniCommand
  ? { readonly command: Command; readonly request: Request }
  : never;

/** What became of reading a request: the answer is known already, or a handler must be called. */
export type ReadRequest =
  | { readonly kind: "answered"; readonly reply: CniReply }
  | ({ readonly kind: "request" } & CniRequest);

/**
 * What a plugin prints that is called without CNI_COMMAND. Nomad takes the first token that is a
 * semantic version as the plugin's, so ours stands alone and before those of the protocol.
 */
export const formatAbout = (name: string, version: string): string =>
  `${name} ${version}\nCNI protocol versions supported: ${cniVersions.join(", ")}\n`;

/** Runs one request to its end. Never throws: every failure is a reply with an error object. */
export async function dispatch(
  invocation: CniInvocation,
  handlers: CniHandlers,
  signal: AbortSignal,
): Promise<CniReply> {
  const read = await readRequest(invocation);
  return read.kind === "answered" ? read.reply : perform(read, handlers, signal);
}

/** The part of {@link dispatch} before a handler is called. */
export async function readRequest(invocation: CniInvocation): Promise<ReadRequest> {
  const command = invocation.environment["CNI_COMMAND"] ?? "";
  if (command === "") {
    return { kind: "answered", reply: { exitStatus: 0, stdout: "", stderr: invocation.about } };
  }
  if (command === "VERSION") return { kind: "answered", reply: await versionReply(invocation) };
  let header: ConfHeader | undefined;
  try {
    checkEnvironment(command, invocation.environment);
    header = knownConfHeader(await readConfiguration(invocation));
    if (!isCniCommand(command) || command === "VERSION") {
      throw new CniError(
        CniCode.invalidEnvironment,
        `Invalid CNI_COMMAND ${JSON.stringify(command)}: expected ${cniCommands.join(", ")}`,
      );
    }
    const cniVersion = negotiateVersion(command, header.cniVersion);
    return { kind: "request", ...buildRequest(command, cniVersion, header, invocation) };
  } catch (error) {
    return { kind: "answered", reply: errorReply(error, versionOf(header)) };
  }
}

/** The part of {@link dispatch} that calls a handler. */
export async function perform(
  { command, request }: CniRequest,
  handlers: CniHandlers,
  signal: AbortSignal,
): Promise<CniReply> {
  const { cniVersion } = request.conf;
  try {
    switch (command) {
      case "ADD":
        return success(formatResult(await handlers.add(request, signal), cniVersion));
      case "DEL":
        await handlers.del(request, signal);
        return success("");
      case "CHECK":
        await handlers.check(request, signal);
        return success("");
      case "GC":
        await handlers.gc(request, signal);
        return success("");
      case "STATUS":
        await handlers.status(request, signal);
        return success("");
    }
  } catch (error) {
    const isLate = signal.aborted && !(error instanceof CniError);
    const reply = errorReply(isLate ? lateError(command, error) : error, cniVersion);
    return command === "DEL" ? deletionErrorReply(reply) : reply;
  }
}

/** An error as the runtime gets it: the error object on standard output, exit status 1. */
export function errorReply(error: unknown, cniVersion: CniVersion): CniReply {
  const known = error instanceof CniError ? error : undefined;
  const msg = known?.message ?? "Cannot serve the request: internal failure";
  const details = known?.details || describeError(known === undefined ? error : known.cause);
  const object = {
    cniVersion,
    code: known?.code ?? CniCode.internal,
    msg,
    // A message often ends in its cause's.
    ...(details === "" || msg.includes(details) ? {} : { details }),
  };
  return { exitStatus: 1, stdout: JSON.stringify(object, null, 4), stderr: "" };
}

const success = (stdout: string): CniReply => ({ exitStatus: 0, stdout, stderr: "" });

/** The version to print in an error of a request that may have named none that we know. */
function versionOf(header: ConfHeader | undefined): CniVersion {
  const text = header === undefined ? newestVersion : header.cniVersion || unnamedVersion;
  return isSupportedVersion(text) ? text : newestVersion;
}

/** The request ran out of time: the runtime may try again. */
export const lateError = (command: CniCommand, cause?: unknown): CniError =>
  new CniError(
    command === "STATUS" ? CniCode.notAvailable : CniCode.tryAgainLater,
    `Cannot finish ${command} in time`,
    { cause },
  );

// containerd takes a failed DEL whose text has one of these for a success, and forgets the
// attachment (go-cni, Remove): a real failure must not sound so.
function deletionErrorReply(reply: CniReply): CniReply {
  const stdout = reply.stdout
    .replaceAll("not found", "missing")
    .replaceAll("no such file or directory", "ENOENT");
  return { ...reply, stdout };
}

async function readConfiguration({ readStdin }: CniInvocation): Promise<string> {
  try {
    return await readStdin();
  } catch (cause) {
    if (cause instanceof CniError) throw cause;
    throw new CniError(CniCode.ioFailure, "Cannot read standard input", { cause });
  }
}

// The reply names the version of the request where there is one (specification: "VERSION"), and no
// input whatever can keep a runtime from learning our versions.
async function versionReply({ readStdin }: CniInvocation): Promise<CniReply> {
  let asked: unknown;
  try {
    asked = member({ path: "", value: JSON.parse(await readStdin()) }, "cniVersion")?.value;
  } catch {
    asked = undefined;
  }
  const cniVersion = typeof asked === "string" && isSupportedVersion(asked) ? asked : newestVersion;
  return success(JSON.stringify({ cniVersion, supportedVersions: cniVersions }));
}

const firstVersionWith: Partial<Record<CniCommand, VersionParts>> = {
  CHECK: [0, 4, 0],
  GC: [1, 1, 0],
  STATUS: [1, 1, 0],
};

/** The version to answer in. Throws CniError incompatibleVersion, or decodingFailure for no version. */
function negotiateVersion(command: CniCommand, text: string): CniVersion {
  const version = text || unnamedVersion;
  const first = firstVersionWith[command];
  if (first !== undefined) {
    const parts = parseVersion(version);
    if (parts === undefined) {
      throw new CniError(
        CniCode.decodingFailure,
        `Cannot decode cniVersion ${JSON.stringify(version)}: expected one of ${cniVersions.join(", ")}`,
      );
    }
    if (compareVersions(parts, first) < 0) {
      throw new CniError(
        CniCode.incompatibleVersion,
        `Invalid cniVersion "${version}" for ${command}: expected ${first.join(".")} or newer`,
      );
    }
  }
  if (isSupportedVersion(version)) return version;
  throw new CniError(CniCode.incompatibleVersion, "Incompatible CNI version", {
    details: `The configuration has ${JSON.stringify(version)}, the plugin supports ${JSON.stringify(cniVersions)}`,
  });
}

function buildRequest(
  command: Exclude<CniCommand, "VERSION">,
  cniVersion: CniVersion,
  header: ConfHeader,
  { environment, isIpam = false }: CniInvocation,
): CniRequest {
  const args = readArgs(command, environment["CNI_ARGS"] ?? "");
  const conf = knownNetConf(header, { command, cniVersion, args, isIpam });
  if (command === "GC" || command === "STATUS") return { command, request: { conf, environment } };
  const request: AttachmentRequest = {
    key: {
      network: header.name,
      containerId: environment["CNI_CONTAINERID"] ?? "",
      ifName: environment["CNI_IFNAME"] ?? "",
    },
    netns: environment["CNI_NETNS"] ?? "",
    args,
    conf,
    environment,
  };
  return { command, request };
}

// Runtimes send other arguments on DEL than on ADD, or none: nothing in them may make it fail.
function readArgs(command: CniCommand, text: string): ReadonlyMap<string, string> {
  try {
    return parseCniArgs(text);
  } catch (error) {
    if (command !== "ADD" && command !== "CHECK") return new Map();
    throw error;
  }
}
