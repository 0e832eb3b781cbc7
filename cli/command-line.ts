import { resolve } from "node:path";
import { Command, CommanderError } from "commander";
import { describeError } from "../core/error.ts";
import { version } from "../core/version.ts";
import { type CliContext, exitStatus, SilentFailure, UsageError } from "./context.ts";
import { installDefaults, type InstallOptions, type UninstallOptions } from "./install-options.ts";
import { addDnsCommands } from "./dns/command.ts";
import { addIpamCommands } from "./ipam/command.ts";
import { addLabCommands } from "./lab/command.ts";
import { addServiceCommands } from "./service/command.ts";
import { requireRoot } from "./root.ts";

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
  addDaemon(program, context);
  addStatus(program, context);
  addInstall(program, context);
  addIpamCommands(program, context);
  addDnsCommands(program, context);
  addLabCommands(program, context);
  addServiceCommands(program, context);
  program
    .command("version")
    .description("print the version")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => {
      context.stdout(options.json ? `${JSON.stringify({ version })}\n` : `${version}\n`);
    });
  return program;
}

function addDaemon(program: Command, context: CliContext): void {
  program
    .command("daemon")
    .description("join this node to the overlay, serve CNI requests and names, until stopped")
    .option("--config <file>", "configuration (default: /etc/fairlead/fairlead.yaml, or none)")
    .option("--replace", "take the place of a daemon that runs; names are answered all the time")
    .action(async ({ config, replace }: { config?: string; replace?: boolean }) => {
      requireRoot("run the daemon");
      // It takes SIGHUP for its configuration's sake: one that comes too early must not end it.
      process.on("SIGHUP", () => {});
      const { runDaemon } = await import("../daemon/main.ts");
      const configPath = config === undefined ? {} : { configPath: resolve(config) };
      // A daemon keeps no directory busy, and needs none that may go.
      process.chdir("/");
      await runDaemon({
        ...configPath,
        replaces: replace ?? false,
        signal: context.signal,
      });
    });
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

function addInstall(program: Command, context: CliContext): void {
  program
    .command("install")
    .description("lay fairlead out on this machine, or below another root")
    .option("--root <dir>", "put in front of every path", installDefaults.root)
    .option("--home <dir>", "runtime and programs, a directory per version", installDefaults.home)
    .option(
      "--cni-bin <dir>",
      "where the container runtime looks for plugins",
      installDefaults.cniBin,
    )
    .option("--cni-conf <dir>", "where it looks for networks", installDefaults.cniConf)
    .option("--json", "as JSON")
    .action(async (options: InstallOptions) => {
      const { install } = await import("./install.ts");
      install(options, context);
    });
  program
    .command("uninstall")
    .description("remove what fairlead owns on this node, in the kernel and on disk")
    .option("--root <dir>", "as it was installed; only files are removed below another root")
    .option("--home <dir>", "as it was installed")
    .option("--force", "even while pods are attached")
    .option("--json", "as JSON")
    .action(async (options: UninstallOptions) => {
      const { uninstall } = await import("./uninstall.ts");
      await uninstall(options, context);
    });
}
