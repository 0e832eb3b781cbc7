// Run inside one lab node by bench/cni.ts: times ADD and DEL of each contender, one after the other in
// every round, and writes one JSON object. A plugin is executed as a container runtime executes it.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";

interface Contender {
  readonly name: string;
  readonly plugin: string;
  readonly conf: Readonly<Record<string, unknown>>;
}

const [roundsText = "30", output = "/dev/stdout", launcher = "/opt/cni/bin/fairlead"] =
  process.argv.slice(2);
const rounds = Number(roundsText);
const referenceDir = "/usr/lib/cni";
const hostLocal = (subnet: string) => ({
  type: "host-local",
  ranges: [[{ subnet }]],
  dataDir: "/run/bench-leases",
});

const contenders: readonly Contender[] = [
  { name: "cat (a process that does nothing)", plugin: "/bin/cat", conf: {} },
  {
    name: "fairlead",
    plugin: launcher,
    conf: { type: "fairlead", name: "fairlead", ipam: { type: "fairlead-ipam" } },
  },
  {
    name: "bridge + host-local",
    plugin: `${referenceDir}/bridge`,
    conf: {
      type: "bridge",
      name: "bench-bridge",
      bridge: "bench0",
      isDefaultGateway: true,
      ipam: hostLocal("10.250.1.0/24"),
    },
  },
  {
    name: "bridge + host-local, ipMasq",
    plugin: `${referenceDir}/bridge`,
    conf: {
      type: "bridge",
      name: "bench-masq",
      bridge: "bench1",
      isDefaultGateway: true,
      ipMasq: true,
      ipam: hostLocal("10.250.2.0/24"),
    },
  },
];

const times = new Map(
  contenders.map(({ name }) => [name, { add: [] as number[], del: [] as number[] }]),
);
mkdirSync("/run/bench-leases", { recursive: true });

for (let round = 0; round < rounds; round++) {
  for (const [index, contender] of contenders.entries()) {
    const id = `bench-${round}-${index}`;
    execFileSync("ip", ["netns", "add", id]);
    const taken = times.get(contender.name);
    taken?.add.push(call(contender, "ADD", id));
    taken?.del.push(call(contender, "DEL", id));
    execFileSync("ip", ["netns", "del", id]);
  }
}
rmSync("/run/bench-leases", { recursive: true });
// A file, not standard output: Debian's plugins may write there too.
writeFileSync(output, JSON.stringify(Object.fromEntries(times)));

/** Milliseconds from before the spawn to the plugin's exit. */
function call(contender: Contender, command: "ADD" | "DEL", id: string): number {
  const input = JSON.stringify({ cniVersion: "1.0.0", ...contender.conf });
  const start = process.hrtime.bigint();
  const { status, stdout, stderr, error } = spawnSync(contender.plugin, {
    input,
    env: {
      PATH: process.env["PATH"],
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: `/run/netns/${id}`,
      CNI_IFNAME: "eth0",
      CNI_PATH: referenceDir,
    },
    encoding: "utf8",
  });
  const elapsedMs = Number(process.hrtime.bigint() - start) / 1e6;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${contender.name} ${command} failed: ${stdout}${stderr}`);
  return elapsedMs;
}
