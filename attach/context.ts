import type { Announcer } from "./announcer.ts";
import type { Clock, Random } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { NodeFacts } from "../core/node-facts.ts";
import type { Ipam } from "../ipam/ipam.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { PairThread } from "../kernel/pair-thread.ts";
import type { Reaper } from "./reaper.ts";
import type { RecordStore } from "./records.ts";

export interface PairMakers {
  /** One that makes a pair with all that hangs on it, while other requests wait; otherwise none. */
  readonly thread: () => PairThread | undefined;
  /** Whether another thread is to make the pair alone meanwhile: no request waits, and a processor is idle. */
  readonly isBeside: () => boolean;
}

/** What the handlers work with. The daemon and the plugin process each build one. */
export interface AttachContext {
  /** The node's namespace. */
  readonly kernel: Kernel;
  readonly ipam: Ipam;
  readonly records: RecordStore;
  /** Throws CniError tryAgainLater, naming the daemon, while nothing is known of the node. */
  readonly nodeFacts: () => NodeFacts;
  readonly announcer: Announcer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /**
   * When DEL answers. `background`: once the pod's traffic has ended, 20 ms before its interface is
   * gone; for the daemon, which lives on. `wait`: when it is gone; for a process that ends then.
   */
  readonly reap: "background" | "wait";
  /**
   * Takes what a request has open, its lock too, and what nobody waits for, to dispose of it when the request
   * is answered, and before the next one. Absent: it is disposed of before.
   */
  readonly putOff?: (thing: Disposable) => void;
  /** Other threads that may make a pair. Absent: there are none. */
  readonly pairMakers?: PairMakers;
}

/** The context, with what the handlers of one process share. */
export interface AttachScope extends AttachContext {
  readonly reaper: Reaper;
}
