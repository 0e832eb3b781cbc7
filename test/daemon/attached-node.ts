// What a daemon has beside its reconcile loop: attachments and who mends them, and the files that tell of the
// node. Everything that is kept is in a directory of the test's.
import { join } from "node:path";
import { silentAnnouncer } from "../../attach/announcer.ts";
import { createHandlers } from "../../attach/handlers.ts";
import { openRecords } from "../../attach/records.ts";
import { silentLog } from "../../core/log.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import { paths } from "../../core/paths.ts";
import type { PortMapping } from "../../core/port-mapping.ts";
import type { RepairLedger } from "../../core/repair-ledger.ts";
import { Mending } from "../../daemon/attachments/mending.ts";
import type { Config } from "../../daemon/config/config.ts";
import { factsAfter } from "../../daemon/node/node-facts.ts";
import { NodeFiles } from "../../daemon/node/node-files.ts";
import type { ReconcilerOptions } from "../../daemon/reconcile/reconcile.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { systemRandom } from "../../kernel/random.ts";
import { aRequest, forever } from "../attach/fixture.ts";
import type { TestNamespace } from "../support/netns.ts";

export interface AttachedNodeOptions {
  readonly directory: string;
  readonly kernel: Kernel;
  readonly ledger: RepairLedger;
  readonly config: Config;
}

export interface AttachedNode extends Disposable {
  readonly parts: Pick<
    ReconcilerOptions,
    "hostPorts" | "podAddresses" | "onPods" | "onElsewhere" | "onPass"
  >;
  /** node.json, then the conflist. */
  readonly files: readonly string[];
  /** Once the node is programmed. */
  readonly attach: (
    pod: TestNamespace,
    name: string,
    portMappings: readonly PortMapping[],
  ) => Promise<void>;
}

export function openAttachedNode(options: AttachedNodeOptions): AttachedNode {
  const { directory, kernel, ledger, config } = options;
  const stack = new DisposableStack();
  const at = (name: string): string => join(directory, name);
  const own = { ...paths, nodeFacts: at("node.json"), attachments: at("attachments") };
  const [clock, log] = [systemClock, silentLog];
  let facts: NodeFacts | undefined;
  const records = openRecords({ directory: own.attachments, clock, log });
  const handlers = createHandlers({
    kernel,
    ipam: openIpam({ dataDir: at("networks"), clock, log }),
    records,
    nodeFacts: () => facts!,
    announcer: silentAnnouncer,
    clock,
    random: systemRandom,
    log,
    reap: "background",
  });
  const files = stack.use(new NodeFiles({ paths: own, confDir: at("net.d"), ledger, clock, log }));
  const mending = stack.use(new Mending({ handlers, ledger, clock, log }));
  mending.start();
  return {
    parts: {
      hostPorts: () => records.hostPortClaims(),
      podAddresses: () => records.podAddresses(config.network.name),
      onPods: (event) => mending.notice(event),
      onElsewhere: (event) => mending.noticeElsewhere(event),
      onPass: (state) => {
        facts = factsAfter(state, { config, bootId: "boot", known: () => facts }) ?? facts;
        if (facts !== undefined) files.publish(facts);
      },
    },
    files: [own.nodeFacts, join(at("net.d"), paths.conflist)],
    attach: async (pod, name, portMappings) => {
      const request = aRequest({ containerId: name, netns: pod.path, conf: { portMappings } });
      await handlers.add(request, forever);
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}
