import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import {
  collectLabel,
  defaultLabDirectory,
  defaultNodeCount,
  type LabOptions,
  type PodAddOptions,
  resolveDirectory,
  type UpOptions,
} from "./arguments.ts";

// The lab's code is of use to no other command, so it is loaded when one of these runs.
const load = async () => import("./actions.ts");

/** `fairlead lab …`: its words; what they do is in actions.ts. */
export function addLabCommands(program: Command, context: CliContext): void {
  const lab = program
    .command("lab")
    .description("a cluster in network namespaces on this machine, to try things in");
  withOptions(lab.command("up"))
    .description("make nodes, the network between them, and a daemon on each")
    .option("--nodes <n>", `how many (default: ${defaultNodeCount})`)
    .option(
      "--cluster <dir>",
      "Kubernetes manifests in place of the demo's; their Nodes are the nodes",
    )
    .option(
      "--source <source>",
      "where daemons read the cluster: file, or etcd on the first nodes",
      "file",
    )
    .action(async (options: UpOptions) => (await load()).up(options, context));
  lab
    .command("exec")
    .description("run a command in a node or a pod")
    .option(...directoryOption)
    .argument("<name>", "a node or a pod, or: router, outside")
    .argument("<command...>", "after --")
    .action(async (name: string, command: readonly string[], options: LabOptions) =>
      (await load()).exec(name, command, options, context),
    );
  addPodCommands(lab, context);
  withOptions(lab.command("down"))
    .description("take the lab away, whatever is left of it")
    .action(async (options: LabOptions) => (await load()).down(options, context));
  addInternalCommands(lab, context);
}

function addPodCommands(lab: Command, context: CliContext): void {
  const pod = lab.command("pod").description("pods of the lab");
  withOptions(pod.command("add"))
    .description("make a sandbox and attach it, as a container runtime does")
    .argument("<name>")
    .requiredOption("--node <node>", "where")
    .option("--namespace <namespace>", "Kubernetes namespace", "default")
    .option("--label <key=value>", "may be repeated", collectLabel, {})
    .action(async (name: string, options: PodAddOptions) =>
      (await load()).podAdd(name, options, context),
    );
  withOptions(pod.command("rm"))
    .description("end the pod's processes, detach it, remove its sandbox")
    .argument("<name>")
    .action(async (name: string, options: LabOptions) =>
      (await load()).podRemove(name, options, context),
    );
}

/** What the lab itself runs in its members. */
function addInternalCommands(lab: Command, context: CliContext): void {
  lab
    .command("serve", { hidden: true })
    .requiredOption("--port <port>")
    .action(async ({ port }: { port: string }) => {
      const { serveEcho } = await import("./echo.ts");
      await serveEcho(Number(port), context.signal);
    });
  lab
    .command("exchange", { hidden: true })
    .requiredOption("--bytes <n>")
    .argument("<target...>")
    .action(async (targets: readonly string[], { bytes }: { bytes: string }) => {
      const { exchange } = await import("./echo.ts");
      const exchanges = [];
      for (const target of targets) exchanges.push(await exchange(target, Number(bytes)));
      context.stdout(`${JSON.stringify(exchanges)}\n`);
    });
}

const directoryOption = [
  "--dir <dir>",
  "the lab's directory: another one is another lab",
  resolveDirectory,
  defaultLabDirectory,
] as const;

const withOptions = (command: Command): Command =>
  command.option(...directoryOption).option("--json", "as JSON");
