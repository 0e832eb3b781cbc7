// ENTRY POINT: `fairlead-ipam` as a process of its own, for any main plugin that delegates to it.
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { dispatch, formatAbout } from "../core/cni/dispatch.ts";
import { CniCode, CniError } from "../core/cni/error.ts";
import type { Log } from "../core/log.ts";
import { type NodeFacts, parseNodeFacts } from "../core/node-facts.ts";
import { paths } from "../core/paths.ts";
import { version } from "../core/version.ts";
import { systemClock } from "../kernel/clock.ts";
import { createIpamHandlers } from "./handlers.ts";
import { openIpam } from "./store.ts";

// The launcher's limit for a request.
const requestDeadlineMs = 20_000;

// Standard output is the result and nothing else; the runtime logs standard error.
const line =
  (level: string): Log["info"] =>
  (fields, message) =>
    process.stderr.write(`fairlead-ipam: ${level}: ${message} ${JSON.stringify(fields)}\n`);
const log: Log = { debug: () => {}, info: line("info"), warn: line("warn"), error: line("error") };

function nodeFacts(): NodeFacts {
  let facts: string;
  try {
    facts = readFileSync(paths.nodeFacts, "utf8");
  } catch (cause) {
    throw new CniError(
      CniCode.tryAgainLater,
      `Cannot read "${paths.nodeFacts}": expected the fairlead daemon to run on this node, ` +
        `or ipam.ranges in the configuration`,
      { cause },
    );
  }
  return parseNodeFacts(facts, paths.nodeFacts);
}

const reply = await dispatch(
  {
    environment: process.env,
    readStdin: () => text(process.stdin),
    about: formatAbout("fairlead-ipam", version),
  },
  createIpamHandlers({ ipam: openIpam({ clock: systemClock, log }), facts: nodeFacts, log }),
  AbortSignal.timeout(requestDeadlineMs),
);
process.stdout.write(reply.stdout);
process.stderr.write(reply.stderr);
process.exitCode = reply.exitStatus;
