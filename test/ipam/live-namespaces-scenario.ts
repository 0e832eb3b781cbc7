// Runs as the first process of a PID namespace, which is the whole machine to it. Prints whether a
// network namespace lives while it is held by one thing after the other, and then by nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readlinkSync, statSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { liveNetworkNamespaces } from "../../kernel/live-namespaces.ts";

const machine = readlinkSync("/proc/self/ns/pid");
const inodeOf = (pid: number | undefined): number => statSync(`/proc/${pid}/ns/net`).ino;
const maker = spawn("unshare", ["--net", "sleep", "60"]);
await once(maker, "spawn");
while (inodeOf(maker.pid) === inodeOf(process.pid)) await setTimeout(5);
const ino = inodeOf(maker.pid);
const said: Record<string, boolean | undefined> = {};
const ask = async (when: string): Promise<void> => {
  said[when] = (await liveNetworkNamespaces(AbortSignal.timeout(5000), machine))?.has(ino);
};

// A runtime in a mount namespace of its own, which nobody else sees.
const pin = "/mnt/pin";
const script = [
  `exec 9< /proc/${maker.pid}/ns/net`,
  "mount -t tmpfs tmpfs /mnt",
  `touch ${pin}`,
  `mount --bind /proc/self/fd/9 ${pin}`,
  "exec 9<&-",
  "echo pinned",
  "exec sleep 60",
];
const runtime = spawn("unshare", ["--mount", "sh", "-ec", script.join("\n")], {
  stdio: ["ignore", "pipe", "inherit"],
});
await once(runtime.stdout, "data");
maker.kill("SIGKILL");
await once(maker, "exit");
await ask("mounted elsewhere");

const pod = spawn("nsenter", [`--net=/proc/${runtime.pid}/root${pin}`, "sleep", "60"]);
await once(pod, "spawn");
while (inodeOf(pod.pid) !== ino) await setTimeout(5);
runtime.kill("SIGKILL");
await once(runtime, "exit");
await ask("with a process");

const fd = openSync(`/proc/${pod.pid}/ns/net`, "r");
pod.kill("SIGKILL");
await once(pod, "exit");
await ask("opened");
closeSync(fd);
await ask("left");
process.stdout.write(JSON.stringify(said));
