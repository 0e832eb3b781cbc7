import type { Command } from "commander";
import { type CliContext, UsageError } from "../context.ts";

export interface ServiceOptions {
  readonly namespace: string;
  readonly config?: string;
  readonly json?: boolean;
}

export interface PublishOptions extends ServiceOptions {
  readonly port: readonly string[];
  readonly address: readonly string[];
}

const load = async () => import("./actions.ts");

/** `fairlead service …`: services without Kubernetes, told to the cluster by the nodes that have endpoints. */
export function addServiceCommands(program: Command, context: CliContext): void {
  const service = program
    .command("service")
    .description("services whose endpoints this node tells the cluster of, where that is in etcd");
  withOptions(service.command("publish"))
    .description("name this node's endpoints of a service, in place of those it had")
    .argument("<name>")
    .requiredOption("--port <[name=]port[/protocol]>", "may be repeated", collect, [])
    .requiredOption("--address <address>", "of an endpoint; may be repeated", collect, [])
    .action(async (name: string, options: PublishOptions) =>
      (await load()).publish(name, options, context),
    );
  withOptions(service.command("withdraw"))
    .description("name no endpoint of this node any more")
    .argument("<name>")
    .action(async (name: string, options: ServiceOptions) =>
      (await load()).withdraw(name, options, context),
    );
  service
    .command("list")
    .description("the cluster's services and who has endpoints of them")
    .option("--config <file>", "the daemon's configuration")
    .option("--json", "as JSON")
    .action(async (options: ServiceOptions) => (await load()).list(options, context));
}

const withOptions = (command: Command): Command =>
  command
    .option("--namespace <namespace>", "of the service", "default")
    .option("--config <file>", "the daemon's configuration")
    .option("--json", "as JSON");

const mostRepeats = 1000;

function collect(text: string, before: readonly string[]): readonly string[] {
  if (before.length >= mostRepeats) throw new UsageError(`Cannot take more than ${mostRepeats}`);
  return [...before, text];
}
