// A process that adds and deletes one attachment over and over, until it is killed.
// Arguments: path of the node's namespace, of the sandbox, directory of records and leases, and "begun" where
// another thread makes the pair meanwhile, as in the daemon.
import { openKernel } from "../../kernel/linux.ts";
import { aRequest, alwaysBeside, createNode, dualStackFacts, forever } from "./fixture.ts";

const [namespace = "", netns = "", directory = "", how = ""] = process.argv.slice(2);
using kernel = openKernel({ namespace });
const { handlers } = createNode(
  kernel,
  {
    nodeFacts: () => dualStackFacts,
    reap: "wait",
    ...(how === "begun" && { pairMakers: alwaysBeside }),
  },
  directory,
);
const request = aRequest({ containerId: "victim", netns });
process.stdout.write("ready\n");
for (;;) {
  await handlers.add(request, forever);
  await handlers.del(request, forever);
}
