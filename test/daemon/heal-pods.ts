// Pods of a machine, attached through its daemon's socket or beside it, as a runtime does.
import { join } from "node:path";
import { type HostPortHolder, hostPortElements } from "../../core/desired/host-ports.ts";
import { type IfName, isPodHostInterface } from "../../core/names.ts";
import type { NftMap } from "../../core/nft.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openRecords } from "../../attach/records.ts";
import { silentLog } from "../../core/log.ts";
import { paths } from "../../core/paths.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { TestMachine } from "./node-process.ts";

export interface AttachedPods {
  /** Their host interfaces. */
  readonly devices: readonly IfName[];
  /** The elements of their hostPorts, pod by pod. */
  readonly elements: readonly (readonly NftMap[])[];
}

const plugin = join(import.meta.dirname, "../../plugin/main.ts");

/** Each has one hostPort, 8000 and up. */
export function attachPods(machine: TestMachine, kernel: Kernel, count: number): AttachedPods {
  for (let i = 0; i < count; i++) {
    const name = `pod-${i}`;
    machine.run("ip", "netns", "add", name);
    const conf = JSON.stringify({
      cniVersion: "1.0.0",
      name: "fairlead",
      type: "fairlead",
      runtimeConfig: {
        portMappings: [{ hostPort: 8000 + i, containerPort: 80, protocol: "tcp" }],
      },
    });
    const environment = `CNI_COMMAND=ADD CNI_CONTAINERID=${name} CNI_NETNS=/run/netns/${name} CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin`;
    const said = machine.run(
      "sh",
      "-c",
      `echo '${conf}' | ${environment} ${process.execPath} ${plugin}; echo "status $?"`,
    );
    if (!said.endsWith("status 0\n")) throw new Error(`Cannot attach ${name}: ${said}`);
  }
  const records = openRecords({
    directory: machine.path(paths.attachments),
    clock: systemClock,
    log: silentLog,
  });
  const holders: readonly HostPortHolder[] = records.hostPortClaims();
  const devices = kernel.links().flatMap(({ name }) => (isPodHostInterface(name) ? [name] : []));
  if (devices.length !== count || holders.length !== count) {
    throw new Error(`${devices.length} interfaces and ${holders.length} claims of ${count} pods`);
  }
  return { devices, elements: holders.map(hostPortElements) };
}
