// Run on a node by storm.ts: 20 workers who have addresses given, checked and taken back in one
// directory, each time by another of those who may do it. Prints one JSON object.
// Arguments: requests of each worker, seed, the launcher under its name fairlead-ipam.
import { paths } from "../../core/paths.ts";
import { validityOf } from "../../ipam/lease.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { seededRandom } from "../support/random.ts";
import { add, key, never, ranges } from "./lease-directory.ts";
import { type PluginCall, callPlugin, referenceDir } from "./plugin-process.ts";

export const implementations = ["host-local", "served", "alone", "store"] as const;
type Implementation = (typeof implementations)[number];

export interface StormFigures {
  readonly requests: Record<Implementation, number>;
  readonly added: number;
  /** An address of which the last holder was another. */
  readonly passedOn: number;
}

const [turns = "10", seed = "1", launcher = ""] = process.argv.slice(2);
const workers = 20;
const containersEach = 3;
const network = "storm";
// One address more than there are containers, so that each is soon another's.
const sets = ranges("10.9.0.0/26", "fd00:9::/122");
const conf = (type: string) => ({
  cniVersion: "1.0.0",
  name: network,
  type: "bridge",
  ipam: { type, ranges: sets },
});

const random = seededRandom(Number(seed));
const store = openIpam({ clock: systemClock });
const done = { added: 0, passedOn: 0 };
const requests: Record<Implementation, number> = { "host-local": 0, served: 0, alone: 0, store: 0 };
/** Who surely holds an address: from the answer to ADD until DEL begins. */
const holders = new Map<string, string>();
const lastHolders = new Map<string, string>();
const held = new Map<string, readonly string[]>();

type Verb = "ADD" | "DEL" | "CHECK";
/** The addresses that ADD gave, none for the others; undefined when it was refused. */
type Answer = readonly string[] | undefined;

// A process of Node's own costs as much as all the others.
const weighted: readonly Implementation[] = [
  ...Array<Implementation>(5).fill("host-local"),
  ...Array<Implementation>(5).fill("served"),
  ...Array<Implementation>(5).fill("store"),
  "alone",
];

async function askStore(verb: Verb, id: string): Promise<Answer> {
  const attachment = key(id, "eth0", network);
  try {
    if (verb === "ADD") return await add(store, attachment, { ranges: sets });
    if (verb === "DEL") await store.release(attachment, never);
    else if (!(await store.leases(network)).some(validityOf([attachment]))) return undefined;
    return [];
  } catch (error) {
    throw new Error(`store ${verb} ${id} failed`, { cause: error });
  }
}

async function askProcess(how: Implementation, verb: Verb, container: string): Promise<Answer> {
  const isGo = how === "host-local";
  const call: PluginCall = {
    plugin: isGo ? `${referenceDir}/host-local` : launcher,
    command: verb,
    conf: conf(isGo ? "host-local" : "fairlead-ipam"),
    container,
    env: how === "alone" ? { FAIRLEAD_SOCKET: "/run/no.sock" } : {},
  };
  const { status, stdout, stderr } = await callPlugin(call);
  if (status === 0 && verb === "ADD") {
    const { ips } = JSON.parse(stdout) as { ips: readonly { readonly address: string }[] };
    return ips.map(({ address }) => address.replace(/\/\d+$/, ""));
  }
  if (status === 0) return [];
  const isExpected =
    verb === "CHECK" || (isGo && verb === "ADD" && stdout.includes("duplicate allocation"));
  if (!isExpected) throw new Error(`${how} ${verb} ${container}: ${stdout} ${stderr}`);
  return undefined;
}

async function turn(id: string, wanted?: Verb): Promise<void> {
  const verb = wanted ?? (["ADD", "ADD", "DEL", "CHECK"] as const)[random.below(4)]!;
  const how = weighted[random.below(weighted.length)]!;
  const before = held.get(id) ?? [];
  if (verb === "DEL") for (const address of before) holders.delete(address);
  const answer = how === "store" ? await askStore(verb, id) : await askProcess(how, verb, id);
  requests[how]++;
  const when = `seed ${seed}, ${how} ${verb} ${id}, which holds "${before.join()}"`;
  if (verb === "DEL") held.delete(id);
  if (verb === "CHECK" && (answer !== undefined) !== before.length > 0) {
    throw new Error(`${when}: answered ${answer === undefined ? "no" : "yes"}`);
  }
  if (verb !== "ADD") return;
  if (answer === undefined && before.length === 0) throw new Error(`${when}: refused`);
  const given = answer ?? before;
  if (given.length !== sets.length || (before.length > 0 && given.join() !== before.join())) {
    throw new Error(`${when}: got "${given.join()}"`);
  }
  for (const address of given) {
    const holder = holders.get(address) ?? id;
    if (holder !== id) throw new Error(`${when}: got ${address}, which ${holder} holds`);
    if ((lastHolders.get(address) ?? id) !== id) done.passedOn++;
    holders.set(address, id);
    lastHolders.set(address, id);
  }
  held.set(id, given);
  done.added++;
}

async function work(worker: number): Promise<void> {
  const id = () => `storm-${worker}-${random.below(containersEach)}`;
  for (let i = 0; i < Number(turns); i++) await turn(id());
}

/** What is on disk is what was told, and nothing more. */
async function compare(): Promise<void> {
  const found = (await store.leases(network)).map(
    ({ address, containerId }) => `${address} ${containerId}`,
  );
  const told = [...held].flatMap(([id, addresses]) => addresses.map((one) => `${one} ${id}`));
  if (found.sort().join() !== told.sort().join()) {
    throw new Error(`seed ${seed}: found ${found.join()}, told ${told.join()} (${paths.leases})`);
  }
}

await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
await compare();
await Promise.all([...held.keys()].map((id) => turn(id, "DEL")));
await compare();
process.stdout.write(JSON.stringify({ requests, ...done } satisfies StormFigures));
