import { memberOf } from "../../cli/lab/directory.ts";
import { enter } from "../../cli/lab/member.ts";
import { execute } from "../../cli/lab/execute.ts";
import type { LabPod } from "../../cli/lab/pod.ts";
import { outsidePort } from "../../cli/lab/underlay.ts";
import { describeError } from "../../core/error.ts";
import type { Claim } from "./claim.ts";
import { exchangeFrom } from "./reachability.ts";
import { addressOf, type Stage } from "./stage.ts";

const bytes = 4096;

/** Point 4, the second half: out of the cluster by the node's address, to a host that knows no pod. */
export async function reachOutside(stage: Stage, pods: readonly LabPod[]): Promise<Claim[]> {
  const { lab, topology, signal, command } = stage;
  const targets = [`${topology.outside.address}:${outsidePort}`];
  const seen = await Promise.all(
    pods.map(async (pod) => {
      const [done] = await exchangeFrom(lab.directory, pod, { command, bytes, targets }, signal);
      const node = topology.nodes.find(({ name }) => name === pod.node);
      const isTrue = done?.problem === "" && done.peer === node?.address;
      return {
        text: `${pod.name} as ${done?.problem || done?.peer || "nobody"}`,
        node: pod.node,
        peer: done?.peer,
        isTrue,
      };
    }),
  );
  const wrong = seen.filter(({ isTrue }) => !isTrue);
  const peers = new Set(seen.map(({ node, peer }) => `${node} as ${peer ?? "nobody"}`));
  return [
    await claimNoWayBack(stage, pods),
    {
      text: "pods reach the outside, which sees their node's address (masquerading)",
      seen: (wrong.length === 0 ? [...peers] : wrong.map(({ text }) => text)).join(", "),
      isTrue: wrong.length === 0,
    },
  ];
}

async function claimNoWayBack({ lab, signal }: Stage, pods: readonly LabPod[]): Promise<Claim> {
  const outside = memberOf(lab.directory, "outside");
  const answers = await Promise.all(
    pods.map((pod) =>
      execute([...enter(outside), "ip", "route", "get", addressOf(pod)], { signal }).catch(
        describeError,
      ),
    ),
  );
  const unreachable = answers.filter((answer) => answer.includes("Network is unreachable"));
  return {
    text: "the outside has no route to any pod (ip route get)",
    seen: `unreachable: ${unreachable.length} of ${pods.length}`,
    isTrue: unreachable.length === pods.length,
  };
}
