// Run by twin-node.ts on a node: the daemon's CNI server over the handlers of plugin/commands.ts and of
// ipam/main.ts.
// Prints a line when it is ready and one per request; ends with its standard input.
import type { CniHandlers } from "../../core/cni/types.ts";
import { silentLog } from "../../core/log.ts";
import { paths } from "../../core/paths.ts";
import { serveCni } from "../../daemon/cni/cni-server.ts";
import { createIpamHandlers } from "../../ipam/handlers.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { readNodeFacts } from "../../kernel/node-facts.ts";
import { writeAll } from "../../kernel/standard-streams.ts";
import { openCommands } from "../../plugin/commands.ts";

using commands = openCommands(silentLog);
const told =
  <Request, Answer>(
    verb: string,
    handle: (request: Request, signal: AbortSignal) => Promise<Answer>,
  ) =>
  (request: Request, signal: AbortSignal): Promise<Answer> => {
    writeAll(1, `served ${verb}\n`);
    return handle(request, signal);
  };
const handlersOf = (handlers: CniHandlers): CniHandlers => ({
  add: told("ADD", (request, signal) => handlers.add(request, signal)),
  del: told("DEL", (request, signal) => handlers.del(request, signal)),
  check: told("CHECK", (request, signal) => handlers.check(request, signal)),
  gc: told("GC", (request, signal) => handlers.gc(request, signal)),
  status: told("STATUS", (request, signal) => handlers.status(request, signal)),
});
const ipam = createIpamHandlers({
  ipam: openIpam({ clock: systemClock }),
  facts: () => readNodeFacts(paths),
  log: silentLog,
});
await using _server = await serveCni({
  socketPath: paths.cniSocket,
  handlers: { fairlead: handlersOf(commands), "fairlead-ipam": handlersOf(ipam) },
  log: silentLog,
});
writeAll(1, "ready\n");
for await (const _ of process.stdin);
