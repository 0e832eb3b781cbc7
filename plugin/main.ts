// ENTRY POINT: one CNI request without a daemon; the launcher becomes this. The only file here that
// touches the process.
import { setTimeout as delay } from "node:timers/promises";
import {
  type CniRequest,
  errorReply,
  formatAbout,
  lateError,
  perform,
  readRequest,
} from "../core/cni/dispatch.ts";
import { deadlines } from "../core/cni/launcher-protocol.ts";
import type { CniReply } from "../core/cni/types.ts";
import { version } from "../core/version.ts";
import {
  inputDeadline,
  readRequestText,
  standardErrorLog,
  writeAll,
} from "../kernel/standard-streams.ts";

const deadline = AbortSignal.timeout(deadlines.handlerMs);

async function serve(): Promise<CniReply> {
  const read = await readRequest({
    environment: process.env,
    readStdin: () =>
      readRequestText(process.stdin, inputDeadline(process.env["CNI_COMMAND"], deadline)),
    about: formatAbout("fairlead", version),
  });
  if (read.kind === "answered") return read.reply;
  return Promise.race([performAlone(read), lateReply(read)]);
}

async function performAlone(read: CniRequest): Promise<CniReply> {
  try {
    // Loaded here, because the rest needs neither the kernel nor anything native.
    const { openCommands } = await import("./commands.ts");
    using commands = openCommands(standardErrorLog("fairlead"));
    return await perform(read, commands, deadline);
  } catch (error) {
    return errorReply(error, read.request.conf.cniVersion);
  }
}

async function lateReply({ command, request }: CniRequest): Promise<CniReply> {
  await delay(deadlines.replyMs - performance.now(), undefined, { ref: false });
  return errorReply(lateError(command), request.conf.cniVersion);
}

const reply = await serve();
writeAll(2, reply.stderr);
// A result that nobody got is no success. Ended at once, whatever a handler that is late still does.
process.exit(writeAll(1, reply.stdout) ? reply.exitStatus : 1);
