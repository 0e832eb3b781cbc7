// The dispatcher with handlers that record what they are called with, for its tests.
import { expect } from "vitest";
import { type CniInvocation, dispatch, formatAbout } from "../../core/cni/dispatch.ts";
import { emptyResult } from "../../core/cni/result.ts";
import type {
  AttachmentRequest,
  CniHandlers,
  CniReply,
  NetworkRequest,
} from "../../core/cni/types.ts";
import { interfaceCidr } from "./builders.ts";

const podIp = { ...emptyResult, ips: [{ address: interfaceCidr("10.244.1.7/32") }] };
const about = formatAbout("fairlead", "0.1.0");
const attachmentEnvironment = {
  CNI_CONTAINERID: "a51debf7e1eb",
  CNI_NETNS: "/run/netns/x",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "",
  CNI_PATH: "/opt/cni/bin",
};
/** A request configuration, with more keys or other ones. */
export const configuration = (more: object = {}): string =>
  JSON.stringify({ cniVersion: "1.1.0", name: "fairlead", type: "fairlead", ...more });

function recordingHandlers(replaced: Partial<CniHandlers> = {}) {
  const calls: { verb: string; request: AttachmentRequest | NetworkRequest }[] = [];
  const record = (verb: string) => async (request: AttachmentRequest | NetworkRequest) => {
    calls.push({ verb, request });
  };
  const handlers: CniHandlers = {
    add: async (request) => {
      await record("ADD")(request);
      return podIp;
    },
    del: record("DEL"),
    check: record("CHECK"),
    gc: record("GC"),
    status: record("STATUS"),
    ...replaced,
  };
  return { handlers, calls };
}

export interface Given {
  readonly command?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdin?: string | (() => Promise<string>);
  readonly replaced?: Partial<CniHandlers>;
  readonly signal?: AbortSignal;
}

/** One request; what is not given is that of a good ADD. */
export async function runDispatch({
  command = "ADD",
  env = {},
  stdin = configuration(),
  ...given
}: Given) {
  const { handlers, calls } = recordingHandlers(given.replaced);
  const invocation: CniInvocation = {
    environment: { ...attachmentEnvironment, CNI_COMMAND: command, ...env },
    readStdin: typeof stdin === "string" ? async () => stdin : stdin,
    about,
  };
  const reply = await dispatch(invocation, handlers, given.signal ?? new AbortController().signal);
  return { reply, calls, request: calls[0]?.request as AttachmentRequest | undefined };
}

/** The error object of a failed reply. */
export const errorOf = (reply: CniReply) => {
  expect(reply).toMatchObject({ exitStatus: 1, stderr: "" });
  return JSON.parse(reply.stdout) as { code: number; msg: string; details?: string };
};
