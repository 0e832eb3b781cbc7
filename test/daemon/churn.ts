// A daemon's process while nodes, services and pods of its cluster come and go, pods are attached and taken
// away on its node, and names are asked for: what it holds of memory must stay what it was.
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { configuration, manifestOf, peerNode, writeCluster } from "../../bench/overlay/cluster.ts";
import { openKernel } from "../../kernel/linux.ts";
import { seededRandom } from "../support/random.ts";
import { type DaemonProcess, TestMachine } from "./node-process.ts";

export interface ChurnOptions {
  readonly nodes: number;
  /** How many names of services, and of pods, are in use in turn. */
  readonly names: number;
  /** Objects of the cluster that come, go or are altered before the first rest: all code has run then. */
  readonly before: number;
  /** And from there to the second. */
  readonly changes: number;
  /** Of either rest, milliseconds: more than the minute in which the daemon gives back once. */
  readonly restMs: number;
  readonly seed: number;
}

export interface ChurnFigures {
  readonly changes: number;
  readonly pods: number;
  readonly queries: number;
  /** Mebibytes resident, at most while it worked, and at rest before and after. */
  readonly most: number;
  readonly before: number;
  readonly after: number;
}

/** Mebibytes: machine code and its notes still come, the names of pods that may come again are kept. */
const mostGrowth = 6;
/** Changes from one look, and from one lot of pods and queries, to the next. */
const lot = 100;
const podsInLot = 10;
const resolver = "172.16.0.10";
const root = join(import.meta.dirname, "../..");
const command = join(root, "dist/bin/fairlead");
const launcher = join(root, "dist/cni/fairlead");

/** Throws naming the seed when memory grows, or not all of it arrives. dist/ must have been built. */
export async function churnDaemon(options: ChurnOptions): Promise<ChurnFigures> {
  const { nodes, changes, seed } = options;
  await using machine = await TestMachine.open();
  const cluster = machine.path("/etc/fairlead/cluster.d");
  writeCluster(cluster, nodes);
  machine.write("/etc/fairlead/fairlead.yaml", configuration);
  const daemon = machine.startDaemon(undefined, [command]);
  await machine.ready();
  const change = changerOf(cluster, options);
  let [most, lots] = [0, 0];
  const churn = async (count: number): Promise<number> => {
    for (let i = 0; i < count; i += lot) {
      for (let j = 0; j < lot; j++) change.one();
      attachAndDetach(machine, lots++ * podsInLot);
      ask(machine, options.names);
      most = Math.max(most, residentMiB(daemon));
      // What the daemon logs is read meanwhile: it would wait for a reader.
      await setTimeout(1);
    }
    change.restore();
    await arrived(machine, nodes);
    return await residentAtRest(daemon, options.restMs);
  };
  const before = await churn(options.before);
  const after = await churn(changes);
  if (after - before > mostGrowth) {
    throw new Error(`Seed ${seed}: at rest ${before} MiB became ${after} MiB`);
  }
  const [pods, queries] = [lots * podsInLot, lots * options.names];
  return { changes, pods, queries, most, before, after };
}

/** Changes files of a directory as an editor would, one object each. */
function changerOf(directory: string, { nodes, names, seed }: ChurnOptions) {
  const random = seededRandom(seed);
  const write = (name: string, content: string): void => {
    const temporary = join(directory, `.${name}.new`);
    writeFileSync(temporary, content);
    renameSync(temporary, join(directory, `${name}.yaml`));
  };
  const remove = (name: string): void => rmSync(join(directory, `${name}.yaml`), { force: true });
  const change = (name: string, content: string): void =>
    random.below(3) === 0 ? remove(name) : write(name, content);
  return {
    one: (): void => {
      const index = random.below(names);
      const kind = random.below(3);
      const version = random.below(200);
      if (kind === 0) {
        const node = peerNode(random.below(nodes - 1), random.below(2));
        change(node.name, manifestOf(node));
      } else if (kind === 1) change(`service-${index}`, serviceText(index, version));
      else change(`pod-${index}`, podText(index, version));
    },
    /** All nodes are there as they were at first, and nothing else. */
    restore: (): void => {
      for (let i = 0; i < names; i++) for (const kind of ["service", "pod"]) remove(`${kind}-${i}`);
      for (let i = 0; i < nodes - 1; i++) write(peerNode(i).name, manifestOf(peerNode(i)));
    },
  };
}

const serviceText = (index: number, version: number): string => `apiVersion: v1
kind: Service
metadata: { namespace: prod, name: service-${index} }
spec:
  type: ClusterIP
  clusterIP: 172.16.${1 + (index >> 8)}.${index & 255}
  clusterIPs: [172.16.${1 + (index >> 8)}.${index & 255}]
  ports: [{ name: http, protocol: TCP, port: ${8000 + version} }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: prod
  name: service-${index}-x
  labels: { kubernetes.io/service-name: service-${index} }
addressType: IPv4
ports: [{ name: http, protocol: TCP, port: 80 }]
endpoints: [{ addresses: [10.1.${index & 255}.${version + 1}], conditions: { ready: true } }]
`;

const podText = (index: number, version: number): string => `apiVersion: v1
kind: Pod
metadata: { namespace: prod, name: pod-${index} }
spec: { nodeName: peer-${index} }
status: { podIP: 10.1.${index & 255}.${version + 1}, podIPs: [{ ip: 10.1.${index & 255}.${version + 1} }] }
`;

/** Pods of the node itself, one after the other, whose names nobody had before. */
function attachAndDetach(machine: TestMachine, first: number): void {
  const conf = JSON.stringify({ cniVersion: "1.0.0", name: "fairlead", type: "fairlead" });
  const script = `set -e
export CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin
i=${first}; while [ $i -lt ${first + podsInLot} ]; do
  ip netns add churn-$i
  for CNI_COMMAND in ADD DEL; do
    echo '${conf}' | CNI_CONTAINERID=churn-$i CNI_NETNS=/run/netns/churn-$i CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=churn-$i" CNI_COMMAND=$CNI_COMMAND ${launcher} >/run/said || { cat /run/said; exit 1; }
  done
  ip netns del churn-$i
  i=$((i + 1))
done
echo done`;
  const said = machine.run("sh", "-c", script);
  if (said !== "done\n") throw new Error(`Pods were not attached and taken away: ${said}`);
}

/** Of the resolver: every service, whether it is there or not. */
function ask(machine: TestMachine, names: number): void {
  const questions = Array.from(
    { length: names },
    (_, i) => `service-${i}.prod.svc.cluster.local\n`,
  );
  machine.write("/run/questions", questions.join(""));
  const options = ["+tries=1", "+time=5", "+noall", "+comments", "-f", "/run/questions"];
  const said = machine.run("dig", `@${resolver}`, ...options);
  const answered = said.match(/status: (NOERROR|NXDOMAIN)/g)?.length ?? 0;
  if (answered !== names) throw new Error(`${answered} of ${names} names were answered: ${said}`);
}

async function arrived(machine: TestMachine, nodes: number): Promise<void> {
  using kernel = openKernel({ namespace: machine.network });
  // One for unused addresses and one for the resolver's service address are the node's own.
  for (let tries = 0; kernel.routes({ protocol: 76 }).length !== nodes + 1; tries++) {
    if (tries > 200) throw new Error("Not all nodes have arrived in the kernel");
    await setTimeout(100);
  }
}

async function residentAtRest(daemon: DaemonProcess, restMs: number): Promise<number> {
  let least = Infinity;
  for (const until = performance.now() + restMs; performance.now() < until;) {
    await setTimeout(1_000);
    least = Math.min(least, residentMiB(daemon));
  }
  return least;
}

function residentMiB({ pid }: DaemonProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024);
}
