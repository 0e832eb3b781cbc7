// Run by twin-node.ts on a node: the daemon's CNI server over the handlers of plugin/commands.ts.
// Prints a line when it is ready and one per request; ends with its standard input.
import type { CniHandlers } from "../../core/cni/types.ts";
import { silentLog } from "../../core/log.ts";
import { paths } from "../../core/paths.ts";
import { serveCni } from "../../daemon/cni-server.ts";
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
const handlers: CniHandlers = {
  add: told("ADD", (request, signal) => commands.add(request, signal)),
  del: told("DEL", (request, signal) => commands.del(request, signal)),
  check: told("CHECK", (request, signal) => commands.check(request, signal)),
  gc: told("GC", (request, signal) => commands.gc(request, signal)),
  status: told("STATUS", (request, signal) => commands.status(request, signal)),
};
await using _server = await serveCni({ socketPath: paths.cniSocket, handlers, log: silentLog });
writeAll(1, "ready\n");
for await (const _ of process.stdin);
