// ENTRY POINT: `fairlead-ipam` as a process of its own, for any main plugin that delegates to it. The
// only file here that touches the process.
import { dispatch, formatAbout } from "../core/cni/dispatch.ts";
import { deadlines } from "../core/cni/launcher-protocol.ts";
import { paths } from "../core/paths.ts";
import { version } from "../core/version.ts";
import { systemClock } from "../kernel/clock.ts";
import { readNodeFacts } from "../kernel/node-facts.ts";
import {
  inputDeadline,
  readRequestText,
  standardErrorLog,
  writeAll,
} from "../kernel/standard-streams.ts";
import { createIpamHandlers } from "./handlers.ts";
import { openIpam } from "./store.ts";

const deadline = AbortSignal.timeout(deadlines.handlerMs);
const log = standardErrorLog("fairlead-ipam");

const reply = await dispatch(
  {
    environment: process.env,
    readStdin: () =>
      readRequestText(process.stdin, inputDeadline(process.env["CNI_COMMAND"], deadline)),
    isIpam: true,
    about: formatAbout("fairlead-ipam", version),
  },
  createIpamHandlers({
    ipam: openIpam({ clock: systemClock, log }),
    facts: () => readNodeFacts(paths),
    log,
  }),
  deadline,
);
writeAll(2, reply.stderr);
// A result that nobody got is no success.
process.exit(writeAll(1, reply.stdout) ? reply.exitStatus : 1);
