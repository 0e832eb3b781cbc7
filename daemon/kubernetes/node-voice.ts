// What this node tells its cluster: that its network is there, by the condition NetworkUnavailable, and what
// its operator should know, by Events of the Node.
import { randomBytes } from "node:crypto";
import type { Clock, Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { StatusProblem } from "../../core/status.ts";
import { Backoff } from "../source/backoff.ts";
import type { NodeStanding, Telling, VoiceTiming } from "../source/source.ts";
import type { ApiClient } from "./api-client.ts";
import { EventChoice, usualBudget } from "./event-budget.ts";
import type { OwnNode } from "./own-node.ts";

export interface NodeVoiceOptions {
  /** Stays the caller's. */
  readonly client: ApiClient;
  readonly nodeName: string;
  /** As the newest list or watch has it; undefined: not known. */
  readonly ownNode: () => OwnNode | undefined;
  readonly standing: () => NodeStanding;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly timing?: VoiceTiming;
}

const usualTiming: VoiceTiming = {
  everyMs: 2000,
  firstMs: 1000,
  mostMs: 300_000,
  events: usualBudget,
};

const condition = "NetworkUnavailable";
const reason = "FairleadReady";
/** Core/v1 Event: longer ones are refused. */
const messageMax = 1024;

export class NodeVoice implements Telling {
  readonly #options: NodeVoiceOptions;
  readonly #timing: VoiceTiming;
  readonly #disposal = new AbortController();
  readonly #conditionBackoff: Backoff;
  readonly #choice: EventChoice;
  #timer: NodeJS.Timeout | undefined;
  #conditionAtMs = -Infinity;
  #problem: string | undefined;
  #eventProblem: string | undefined;

  constructor(options: NodeVoiceOptions) {
    this.#options = options;
    this.#timing = options.timing ?? usualTiming;
    this.#conditionBackoff = new Backoff(this.#timing, options.random);
    this.#choice = new EventChoice(this.#timing.events);
    this.#schedule();
  }

  /** What could not be told. */
  get problems(): readonly string[] {
    return [this.#problem, this.#eventProblem].flatMap((problem) => problem ?? []);
  }

  [Symbol.dispose](): void {
    this.#disposal.abort();
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => void this.#tell(), this.#timing.everyMs);
  }

  async #tell(): Promise<void> {
    const standing = this.#options.standing();
    await this.#tellCondition(standing);
    await this.#tellEvents(standing);
    if (!this.#disposal.signal.aborted) this.#schedule();
  }

  // Only that it is there: a node that is not ready for a while has its pods, and may be given more.
  async #tellCondition({ isReady }: NodeStanding): Promise<void> {
    const { client, nodeName, ownNode, clock, log } = this.#options;
    const node = ownNode();
    const known = node?.networkUnavailable;
    const isTold = known?.status === "False" && known.reason === reason;
    if (isTold) this.#problem = undefined;
    if (!isReady || node === undefined || isTold) return;
    if (clock.monotonicMs() < this.#conditionAtMs) return;
    const now = new Date(clock.nowMs()).toISOString().replace(/\.\d+/, "");
    const told = {
      type: condition,
      status: "False",
      reason,
      message: "fairlead has the node's network",
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    };
    try {
      await client.ask(
        {
          method: "PATCH",
          path: `/api/v1/nodes/${nodeName}/status`,
          contentType: "application/strategic-merge-patch+json",
          body: { status: { conditions: [told] } },
        },
        this.#disposal.signal,
      );
      log.info({ before: known?.status ?? "none" }, "told the cluster that the network is there");
      this.#problem = undefined;
      // The watch tells that it is so: until then, and if somebody sets it back all the time.
      this.#conditionAtMs = clock.monotonicMs() + this.#conditionBackoff.next();
    } catch (error) {
      if (this.#disposal.signal.aborted) return;
      this.#conditionAtMs = clock.monotonicMs() + this.#conditionBackoff.next();
      this.#problem = `Cannot set the condition ${condition} of Node ${nodeName}: ${describeError(error)}`;
    }
  }

  async #tellEvents({ problems }: NodeStanding): Promise<void> {
    const { clock } = this.#options;
    const areas = new Map(problems.map(({ area, message }) => [message, area]));
    // That it cannot tell, it cannot tell.
    for (const own of this.problems) areas.delete(own);
    for (const message of this.#choice.choose([...areas.keys()], clock.monotonicMs())) {
      await this.#tellEvent(areas.get(message) ?? "node", message);
    }
  }

  async #tellEvent(area: StatusProblem["area"], message: string): Promise<void> {
    const { client, nodeName, ownNode, clock } = this.#options;
    const now = new Date(clock.nowMs()).toISOString().replace(/\.\d+/, "");
    const word = area === "cni" || area === "dns" || area === "ipam" ? area.toUpperCase() : area;
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${nodeName}.${randomBytes(8).toString("hex")}`, namespace: "default" },
      involvedObject: { apiVersion: "v1", kind: "Node", name: nodeName, uid: ownNode()?.uid ?? "" },
      type: "Warning",
      reason: `${word.charAt(0).toUpperCase()}${word.slice(1)}Problem`,
      message: message.length > messageMax ? `${message.slice(0, messageMax - 3)}...` : message,
      source: { component: "fairlead", host: nodeName },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    try {
      const path = "/api/v1/namespaces/default/events";
      await client.ask({ method: "POST", path, body: event }, this.#disposal.signal);
      this.#eventProblem = undefined;
    } catch (error) {
      if (this.#disposal.signal.aborted) return;
      this.#eventProblem = `Cannot write an Event of Node ${nodeName}: ${describeError(error)}`;
    }
  }
}
