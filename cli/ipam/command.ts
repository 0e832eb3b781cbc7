import type { Command } from "commander";
import type { CliContext } from "../context.ts";
import type { AdoptOptions } from "./adopt.ts";
import type { AssignOptions } from "./assign.ts";
import type { GcOptions } from "./gc.ts";
import type { ReleaseOptions } from "./release.ts";
import type { ShowOptions } from "./show.ts";

/** `fairlead ipam …`: its words. The code of each is loaded when it runs. */
export function addIpamCommands(program: Command, context: CliContext): void {
  const ipam = program.command("ipam").description("who has which addresses");
  addShow(ipam, context);
  addAdopt(ipam, context);
  addAssign(ipam, context);
  addGc(ipam, context);
  addRelease(ipam, context);
}

function addShow(ipam: Command, context: CliContext): void {
  ipam
    .command("show")
    .description("this node's addresses: pools, how full each block is, who has which")
    .option("--data-dir <dir>", "networks that keep their leases elsewhere (ipam.dataDir)")
    .option("--json", "as JSON")
    .action(async (options: ShowOptions) => {
      const { show } = await import("./show.ts");
      await show(options, context);
    });
}

function addAdopt(ipam: Command, context: CliContext): void {
  ipam
    .command("adopt")
    .description("take over the leases of pods that run on under another plugin")
    .option("--from <plugin>", "host-local or flannel", "host-local")
    .option("--network <name>", "only this network of host-local's; may be repeated", collect, [])
    .option("--data-dir <dir>", "where its networks are (default: /var/lib/cni/networks)")
    .option("--config <file>", "configuration (default: /etc/fairlead/fairlead.yaml, or none)")
    .option("--dry-run", "only print what would be adopted")
    .option("--json", "as JSON")
    .action(async (options: AdoptOptions) => {
      const { adopt } = await import("./adopt.ts");
      await adopt(options, context);
    });
}

function addAssign(ipam: Command, context: CliContext): void {
  ipam
    .command("assign")
    .description("write the pod CIDRs that Node manifests lack into them")
    .option("--cluster <dir>", "the manifests (default: those of the configuration)")
    .option("--config <file>", "configuration (default: /etc/fairlead/fairlead.yaml, or none)")
    .option("--node <name>", "only this Node")
    .option("--pool <name>", "of this pool of the configuration (default: network.podCIDRs)")
    .option("--count <n>", "this many more pod CIDRs of each family, also where there are some")
    .option("--add-node <name>", "write a manifest for a new Node; needs --address")
    .option(
      "--address <ip>",
      "where peers reach the new Node; up to one of each family",
      collect,
      [],
    )
    .option("--dry-run", "only print what would be assigned")
    .option("--json", "as JSON")
    .action(async (options: AssignOptions) => {
      const { assign } = await import("./assign.ts");
      await assign(options, context);
    });
}

function addGc(ipam: Command, context: CliContext): void {
  ipam
    .command("gc")
    .description("end what runtimes never came back for: attachments and leases without a sandbox")
    .option("--grace <seconds>", "between the two looks that must both miss a sandbox", "5")
    .option("--dry-run", "only print what would be freed")
    .option("--json", "as JSON")
    .action(async (options: GcOptions) => {
      const { gc } = await import("./gc.ts");
      await gc(options, context);
    });
}

function addRelease(ipam: Command, context: CliContext): void {
  ipam
    .command("release")
    .description("take a node that is gone for good out of etcd: its name, Node object and blocks")
    .argument("<node>")
    .option("--force", "also one whose lease is alive: only if the machine is off, for good")
    .option("--config <file>", "the daemon's configuration")
    .option("--json", "as JSON")
    .action(async (node: string, options: ReleaseOptions) => {
      const { release } = await import("./release.ts");
      await release(node, options, context);
    });
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];
