// Runs as the first process of a PID namespace, which is the whole machine to it, in a network and a /run
// of its own. Two pods; one loses its sandbox. Prints what gc says and what is left.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { collectForgotten } from "../../cli/ipam/gc.ts";
import { formatNodeFacts } from "../../core/node-facts.ts";
import { paths } from "../../core/paths.ts";
import { silentLog } from "../../core/log.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import { openKernel } from "../../kernel/linux.ts";
import { liveNetworkNamespaces } from "../../kernel/live-namespaces.ts";
import { openCommands } from "../../plugin/commands.ts";
import { aRequest, facts } from "../attach/fixture.ts";
import { never } from "../ipam/lease-directory.ts";

const ip = (...words: readonly string[]): unknown => execFileSync("ip", words);
mkdirSync("/run/fairlead", { recursive: true });
const { bootId } = systemBootClock;
writeFileSync(paths.nodeFacts, formatNodeFacts({ ...facts, bootId }));
ip("link", "set", "lo", "up");
for (const address of facts.nodeAddresses) ip("address", "add", address, "dev", "lo");
{
  using commands = openCommands(silentLog);
  for (const containerId of ["leaves", "stays"]) {
    ip("netns", "add", containerId);
    await commands.add(aRequest({ containerId }), never);
  }
}
ip("netns", "delete", "leaves");
using kernel = openKernel();
// The kernel takes a namespace apart in its own time.
const pairs = (): number => kernel.links().filter(({ name }) => name.startsWith("fl")).length;
while (pairs() > 1) await new Promise((resolve) => setTimeout(resolve, 5));

const machine = readlinkSync("/proc/self/ns/pid");
const seen = (signal: AbortSignal) => liveNetworkNamespaces(signal, machine);
const gc = async (isDryRun: boolean, liveNamespaces: typeof seen = seen): Promise<object> => {
  const { freed, problems } = await collectForgotten(
    { graceMs: 10, isDryRun, liveNamespaces },
    never,
  );
  const said = freed.map(({ kind, containerId, why }) => `${kind} ${containerId}: ${why}`);
  const directory = `${paths.leases}/fairlead`;
  const leases = readdirSync(directory).filter((name) => name.startsWith("10."));
  const holders = leases.map((name) => readFileSync(`${directory}/${name}`, "utf8").split("\r")[0]);
  const records = readdirSync(paths.attachments).filter((name) => name.endsWith(".json"));
  return { said, problems, holders, records: records.length };
};
const rounds = [await gc(true), await gc(false), await gc(false)];
// Nothing is left that a look would ask for: what cannot be told is told all the same.
rounds.push(await gc(false, () => Promise.resolve(undefined)));
process.stdout.write(JSON.stringify(rounds));
