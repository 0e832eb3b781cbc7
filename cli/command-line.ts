import { Command, CommanderError } from "commander";
import { describeError } from "../core/error.ts";
import { version } from "../core/version.ts";
import { type CliContext, exitStatus, SilentFailure, UsageError } from "./context.ts";
import { addLabCommands } from "./lab/command.ts";

/**
 * Runs one command line and gives its exit status. Each command's code is loaded when it runs: the
 * daemon's and the lab's parts are of no use to one another.
 */
export async function runCommandLine(
  args: readonly string[],
  context: CliContext,
): Promise<number> {
  try {
    await commandTree(context).parseAsync(args, { from: "user" });
    return exitStatus.fine;
  } catch (error) {
    return reportFailure(error, context);
  }
}

function reportFailure(error: unknown, context: CliContext): number {
  if (error instanceof SilentFailure) return error.status;
  if (error instanceof CommanderError) {
    // Help and version were asked for; anything else is a wrong command line, already printed.
    return error.exitCode === 0 ? exitStatus.fine : exitStatus.wrongUse;
  }
  context.stderr(`fairlead: ${describeError(error)}\n`);
  return error instanceof UsageError ? exitStatus.wrongUse : exitStatus.failed;
}

function commandTree(context: CliContext): Command {
  const program = new Command("fairlead")
    .description("Addresses, routes and names for the pods of a cluster")
    .version(version, "-V, --version", "print the version")
    .exitOverride()
    .configureOutput({ writeOut: context.stdout, writeErr: context.stderr })
    .helpCommand(true);
  addStatus(program, context);
  addLabCommands(program, context);
  program
    .command("version")
    .description("print the version")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => {
      context.stdout(options.json ? `${JSON.stringify({ version })}\n` : `${version}\n`);
    });
  return program;
}

function addStatus(program: Command, context: CliContext): void {
  program
    .command("status")
    .description("what the daemon on this node says of itself")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }) => {
      const { printStatus } = await import("./status.ts");
      await printStatus({ isJson: options.json ?? false }, context);
    });
}
