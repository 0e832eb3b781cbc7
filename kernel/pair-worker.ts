// The thread of kernel/pair-thread.ts: makes one pair after the other, as the event loop would.
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { Protocol } from "netlink/dist/constants.js";
import { invariant } from "../core/assert.ts";
import { KernelError } from "../core/error.ts";
import { LinuxNamespace } from "./namespace.ts";
import { openNamespace, runInNamespace } from "./netns.ts";
import { type NetlinkSocket } from "./netlink.ts";
import { openNetlink } from "./open-netlink.ts";
import type {
  PairAnswer,
  PairBatches,
  PairFailure,
  PairJob,
  WorkerStart,
} from "./pair-protocol.ts";
import { openSandbox } from "./sandbox.ts";

function openNode({ namespace }: WorkerStart): NetlinkSocket {
  if (namespace === undefined) return openNetlink(Protocol.ROUTE);
  using home = openNamespace(namespace);
  return runInNamespace(home, () => openNetlink(Protocol.ROUTE));
}

/** A sandbox's batch is not begun after a failure of the node's. */
function make(node: LinuxNamespace, batches: PairBatches): Omit<PairAnswer, "serial"> {
  let batch: PairFailure["batch"] = "node";
  try {
    node.apply(batches.node);
    batch = "sandbox";
    using sandbox = openSandbox(`/proc/self/fd/${batches.sandboxFd}`);
    sandbox.apply(batches.sandbox);
    return { isRunning: node.isRunning(batches.device) };
  } catch (thrown) {
    if (!(thrown instanceof KernelError)) throw thrown;
    const { operation, errno, kernelMessage } = thrown;
    return { failure: { batch, operation, errno, kernelMessage } };
  }
}

function serve(port: MessagePort, start: WorkerStart): void {
  const socket = openNode(start);
  const node = new LinuxNamespace(() => socket);
  port.on("message", ({ serial, batches }: PairJob) => {
    const answer: PairAnswer = { serial, ...make(node, batches) };
    port.postMessage(answer);
  });
  const ready: PairAnswer = { serial: -1 };
  port.postMessage(ready);
}

invariant(parentPort !== null, "kernel/pair-worker runs in a worker thread");
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what pair-thread.ts starts it with
serve(parentPort, workerData as WorkerStart);
