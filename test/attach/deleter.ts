// A process that sends one DEL and is killed in it: the interface is down, and everything else still there.
// Arguments: path of the node's namespace, container, directory of records and leases.
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

const [namespace = "", containerId = "", directory = ""] = process.argv.slice(2);
using kernel = openKernel({ namespace });
const dying: Kernel = {
  ...kernel,
  reap: () => {
    process.kill(process.pid, "SIGKILL");
    return new Promise(() => {});
  },
};
const { handlers } = createNode(dying, { nodeFacts: () => dualStackFacts }, directory);
await handlers.del(aRequest({ containerId, netns: "" }), forever);
