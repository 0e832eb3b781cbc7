// Names, asked from inside pods with the pod's own resolv.conf by clients that know nothing of us.
import { memberOf } from "../../cli/lab/directory.ts";
import { runIn } from "../../cli/lab/member.ts";
import type { LabPod } from "../../cli/lab/pod.ts";
import type { LabCluster } from "../../cli/lab/cluster.ts";
import { outsideName } from "../../cli/lab/topology.ts";
import { parseManifest } from "../../daemon/source/manifest.ts";
import type { Claim } from "./claim.ts";
import { addressOf, findPod, type Stage } from "./stage.ts";

/** One question, as a command whose output has one answer in a line. */
export interface Question {
  readonly about: string;
  readonly command: readonly string[];
  readonly answers: readonly string[];
}

/** What the C library's resolver gives every program. */
const getent = (name: string): readonly string[] => [
  "sh",
  "-c",
  `timeout 10 getent ahostsv4 "$1" | cut -d' ' -f1 | sort -u`,
  "sh",
  name,
];

const dig = ["dig", "+short", "+time=2", "+tries=2"];

export interface Expected {
  /** Of the headless service db. */
  readonly dbAddresses: readonly string[];
  readonly webClusterIp: string;
  readonly outside: { readonly name: string; readonly address: string };
}

export function questions({ dbAddresses, webClusterIp, outside }: Expected): Question[] {
  const [db0 = ""] = dbAddresses;
  return [
    {
      about: "a headless service: dig db.demo.svc.cluster.local A",
      command: [...dig, "db.demo.svc.cluster.local", "A"],
      answers: dbAddresses,
    },
    {
      about: "a ClusterIP service: getent web.demo.svc.cluster.local",
      command: getent("web.demo.svc.cluster.local"),
      answers: [webClusterIp],
    },
    {
      about: "a name by the search path: getent web",
      command: getent("web"),
      answers: [webClusterIp],
    },
    {
      about: `a reverse name: dig -x ${db0}`,
      command: [...dig, "-x", db0],
      answers: ["db-0.db.demo.svc.cluster.local."],
    },
    {
      about: `an outside name, through the upstream: getent ${outside.name}`,
      command: getent(outside.name),
      answers: [outside.address],
    },
  ];
}

/** Point 5: in one pod of each node. */
export function askNames(
  { lab, topology, cluster, signal }: Stage,
  pods: readonly LabPod[],
): Promise<Claim[]> {
  const dbAddresses = pods.filter(({ labels }) => labels["app"] === "db").map(addressOf);
  const outside = { name: outsideName, address: topology.outside.address };
  const asked = questions({ dbAddresses, webClusterIp: clusterIpOf(cluster, "web"), outside });
  const askers = lab.nodes.map((_, index) => findPod(pods, `web-${index}`));
  return askAll(lab.directory, askers, asked, signal);
}

function clusterIpOf(cluster: LabCluster, service: string): string {
  for (const text of cluster.files.values()) {
    const manifest = parseManifest(text);
    for (const { value } of manifest.kind === "valid" ? manifest.objects : []) {
      const [address] =
        value.kind === "Service" && value.object.name === service ? value.object.clusterIps : [];
      if (address !== undefined) return address;
    }
  }
  throw new Error(`No Service ${service} with a cluster IP in the manifests`);
}

/** Asks each question in each of the pods. */
export const askAll = (
  lab: string,
  pods: readonly LabPod[],
  asked: readonly Question[],
  signal: AbortSignal,
): Promise<Claim[]> =>
  Promise.all(
    asked.map(async ({ about, command, answers }) => {
      const expected = answers.toSorted().join(" ");
      const given = await Promise.all(
        pods.map(async (pod) => {
          const output = await runIn(memberOf(lab, pod.name), command, { signal }).catch(() => "");
          const lines = output.split("\n").filter((line) => line !== "" && !line.startsWith(";"));
          return lines.sort().join(" ");
        }),
      );
      const wrong = pods
        .map((pod, index) => `${pod.name}: ${given[index] || "no answer"}`)
        .filter((_, index) => given[index] !== expected);
      return {
        text: `pods resolve ${about}`,
        seen: wrong.length === 0 ? expected : `${wrong.join("; ")}; expected ${expected}`,
        isTrue: wrong.length === 0,
      };
    }),
  );
