import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import type { QueryOptions } from "./query.ts";

/** `fairlead dns …`: its words. The code of each is loaded when it runs. */
export function addDnsCommands(program: Command, context: CliContext): void {
  const dns = program.command("dns").description("how this node's resolver answers");
  dns
    .command("query <name>")
    .description("ask the daemon's resolver, and say where the answer comes from")
    .option("--type <type>", "A, AAAA, SRV, TYPE65 …", "A")
    .option("--from <pod>", "as this pod of the node, [namespace/]name, or as this address")
    .option("--json", "as JSON")
    .action(async (name: string, options: QueryOptions) => {
      const { query } = await import("./query.ts");
      await query(name, options, context);
    });
}
