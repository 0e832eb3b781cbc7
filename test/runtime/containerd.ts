// containerd on a container machine, as a kubelet would find it.
import { existsSync, writeFileSync } from "node:fs";
import { endProcesses, type ProcessIdentity } from "../../cli/lab/process.ts";
import { waitFor } from "../../cli/lab/wait.ts";
import type { ContainerMachine } from "./container-machine.ts";
import { type Cri, openCri } from "./cri.ts";
import { imageName, writeImage } from "./image.ts";

export interface Containerd extends AsyncDisposable {
  readonly machine: ContainerMachine;
  readonly cri: Cri;
  /** As SIGKILL leaves it. */
  kill(): Promise<void>;
  /** Starts it after `kill`. */
  start(): Promise<void>;
}

const signal = new AbortController().signal;
const socket = "/run/containerd/containerd.sock";
const configFile = "/run/containerd.toml";
const archive = "/run/image.tar";

// Where it may not lower a container's oom_score_adj (no CAP_SYS_RESOURCE), it leaves it as it is.
const config = `
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${imageName}"
  restrict_oom_score_adj = true
`;

/** Starts containerd, with the image in its store. */
export async function startContainerd(machine: ContainerMachine): Promise<Containerd> {
  writeFileSync(machine.path(configFile), config);
  let running = await startProcess(machine);
  let cri = openCri(machine.path(socket));
  writeImage(machine.path(archive));
  await machine.output("ctr", "--namespace", "k8s.io", "images", "import", archive);
  const kill = async (): Promise<void> => {
    cri[Symbol.dispose]();
    await endProcesses([running], signal, 0);
  };
  return {
    machine,
    get cri() {
      return cri;
    },
    kill,
    start: async () => {
      running = await startProcess(machine);
      cri = openCri(machine.path(socket));
    },
    [Symbol.asyncDispose]: kill,
  };
}

/** Resolves when it answers. */
async function startProcess(machine: ContainerMachine): Promise<ProcessIdentity> {
  const containerd = await machine.start("containerd", ["containerd", "--config", configFile]);
  const answers = async (): Promise<true | undefined> => {
    if (!existsSync(machine.path(socket))) return undefined;
    using cri = openCri(machine.path(socket));
    try {
      return (await cri.status())["RuntimeReady"]?.holds === true ? true : undefined;
    } catch {
      return undefined;
    }
  };
  await waitFor(answers, { what: "containerd did not answer", deadlineMs: 10_000, signal });
  return containerd;
}
