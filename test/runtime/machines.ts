// A lab whose nodes are to run containers, and what is there before and after.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { artifacts } from "../../cli/home.ts";
import { startDaemon } from "../../cli/lab/daemon.ts";
import { memberOf } from "../../cli/lab/directory.ts";
import { holderOf, type Member, runIn } from "../../cli/lab/member.ts";
import { outsidePath } from "../../cli/lab/node.ts";
import { endProcesses } from "../../cli/lab/process.ts";
import { readRecord } from "../../cli/lab/process-record.ts";
import { waitFor } from "../../cli/lab/wait.ts";
import { linesLeft, observeNode } from "../../scripts/demo/remains.ts";
import { testLab } from "../support/lab.ts";
import { type ContainerMachine, createContainerMachine } from "./container-machine.ts";

const signal = new AbortController().signal;

export interface RuntimeLab extends AsyncDisposable {
  /** On node-a, and on node-c, which is behind a router: between them is the overlay. */
  readonly machines: readonly [ContainerMachine, ContainerMachine];
  /** From outside, where a client of a published port may be. */
  readonly outside: Member;
}

export async function createRuntimeLab(): Promise<RuntimeLab> {
  await using stack = new AsyncDisposableStack();
  const lab = await testLab();
  stack.defer(() => void lab.run("down"));
  const up = lab.run("up");
  if (up.status !== 0) throw new Error(`No lab: ${up.stderr}`);
  const create = async (name: string): Promise<ContainerMachine> =>
    stack.use(await createContainerMachine(memberOf(lab.directory, name)));
  const machines = [await create("node-a"), await create("node-c")] as const;
  const parts = stack.move();
  return {
    machines,
    outside: memberOf(lab.directory, "outside"),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Network, files, processes and pinned namespaces, one line each. */
async function observeMachine(machine: ContainerMachine): Promise<readonly string[]> {
  const mounts = readFileSync(`/proc/${holderOf(machine.node).pid}/mountinfo`, "utf8");
  const pins = mounts.split("\n").filter((line) => line.includes(" - nsfs "));
  return [
    ...(await observeNode(machine.node, signal)),
    ...machine.processes().map((line) => `process ${line}`),
    ...pins.map((line) => `pin ${line.split(" ")[4]}`),
  ];
}

const fetchScript = `
const response = await fetch(process.argv[1], { signal: AbortSignal.timeout(3000) });
process.stdout.write(await response.text());`;

/** What a web server answers to the member; throws when none does. */
export const fetchIn = (member: Member, url: string): Promise<string> =>
  runIn(member, [process.execPath, "--input-type=module", "--eval", fetchScript, url], { signal });

/** Remembers what there is; `check` throws for what there is besides, once it had the time to go. */
export async function watchMachines(
  machines: readonly ContainerMachine[],
): Promise<{ check(): Promise<void> }> {
  const before = await Promise.all(machines.map(observeMachine));
  const check = async (machine: ContainerMachine, known: readonly string[]): Promise<void> => {
    const options = { deadlineMs: 4000, signal };
    const left = await linesLeft(known, () => observeMachine(machine), options);
    if (left.length > 0) throw new Error(`Left on ${machine.node.name}:\n${left.join("\n")}`);
  };
  return {
    check: async () => {
      await Promise.all(machines.map((machine, i) => check(machine, before[i] ?? [])));
    },
  };
}

/** fairlead's daemon on the node, ended as SIGKILL ends it. */
export async function killDaemon({ node }: ContainerMachine): Promise<void> {
  const daemon = readRecord(node.directory, "daemon");
  if (daemon === undefined) throw new Error(`${node.name} has no daemon`);
  await endProcesses([daemon], signal, 0);
}

export async function startDaemonAgain({ node }: ContainerMachine): Promise<void> {
  await startDaemon(node, artifacts.command, signal);
  const isReady = async (): Promise<true | undefined> => {
    try {
      await runIn(node, [artifacts.command, "status"], { signal });
      return true;
    } catch {
      return undefined;
    }
  };
  await waitFor(isReady, { what: `${node.name} did not get ready`, deadlineMs: 10_000, signal });
}

/**
 * Does what a runtime cannot do that was killed before it had written down what it made: ends the
 * processes and deletes the sandboxes that it knows nothing of. It never calls DEL for them; without its
 * sandbox such an attachment is stale, and the daemon takes it away when it starts.
 */
export async function removeForgotten(machine: ContainerMachine): Promise<void> {
  await machine.output("sh", "-c", endForgotten);
  const directory = outsidePath(machine.node, "/run/netns");
  const sandboxes = existsSync(directory) ? readdirSync(directory) : [];
  for (const name of sandboxes) await machine.output("ip", "netns", "del", name);
  const cache = outsidePath(machine.node, "/var/lib/cni/results");
  for (const file of existsSync(cache) ? readdirSync(cache) : []) rmSync(join(cache, file));
  if (sandboxes.length === 0) return;
  await killDaemon(machine);
  await startDaemonAgain(machine);
}

const endForgotten = `
for process in /proc/[0-9]*; do
  case "$(cat "$process/comm" 2>/dev/null)" in
    containerd-shim | conmon | runc*) kill -KILL "\${process#/proc/}" ;;
  esac
done`;
