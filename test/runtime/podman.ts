// podman on a container machine, with its CNI backend, for which it looks up networks by name.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { ContainerMachine, Outcome } from "./container-machine.ts";
import { writeImage } from "./image.ts";

const archive = "/run/image.tar";
const configFile = "/etc/containers/containers.conf";

// The limits are those that need no CAP_SYS_RESOURCE.
const config = `
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=10000:10000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "cni"
`;

export interface Podman {
  readonly machine: ContainerMachine;
  /** Never throws. */
  run(...args: readonly string[]): Promise<Outcome>;
  /** Throws what it said when it fails. */
  output(...args: readonly string[]): Promise<string>;
}

/** Configures podman on the machine, with the image in its store. */
export async function setUpPodman(machine: ContainerMachine): Promise<Podman> {
  mkdirSync(dirname(machine.path(configFile)), { recursive: true });
  writeFileSync(machine.path(configFile), config);
  writeImage(machine.path(archive));
  await machine.output("podman", "load", "--quiet", "--input", archive);
  return {
    machine,
    run: (...args) => machine.run("podman", ...args),
    output: (...args) => machine.output("podman", ...args),
  };
}

/** Why podman cannot be tried here; undefined when it can. */
export async function missingBackend(machine: ContainerMachine): Promise<string | undefined> {
  const { stdout, stderr } = await machine.run("podman", "--version");
  const version = /podman version (\d+)\./.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`No podman: ${stderr}`);
  return Number(version) < 5 ? undefined : `${stdout.trim()} has no CNI backend any more`;
}
