import type { Ip } from "../core/address.ts";
import type { LogFields } from "../core/log.ts";
import type { PodsUpdate } from "./cluster/pod-book.ts";
import type { ZoneUpdate } from "./cluster/zone-feed.ts";
import type { ExplainOutcome, ExplainRequest } from "./handlers/explain.ts";
import type { Upstream } from "./handlers/settings.ts";
import type { DnsOptions } from "./options.ts";

/** What the worker is started with: the options that can be cloned, and the shared counters. */
export interface WorkerStart extends Omit<
  DnsOptions,
  "log" | "podBook" | "workerUrl" | "onSockets" | "snapshot"
> {
  /** An update is on its way: no query is taken before it. */
  readonly awaitsUpdate: boolean;
  readonly counters: SharedArrayBuffer;
  /** Of the cookies given: the same for a thread that takes another's place. */
  readonly cookieSecret: Uint8Array;
  readonly traffic: SharedArrayBuffer;
  readonly upstreamStats: SharedArrayBuffer;
  readonly descriptors: SharedArrayBuffer;
  /** Of {@link PodTurns}. */
  readonly podTurns: SharedArrayBuffer;
}

export type ToWorker =
  | { readonly kind: "update"; readonly update: ZoneUpdate }
  /** Asked from now on. */
  | { readonly kind: "upstreams"; readonly upstreams: readonly Upstream[] }
  /** In their order. With a turn: of {@link PodTurns}, told next. */
  | { readonly kind: "pods"; readonly updates: readonly PodsUpdate[]; readonly turn?: number }
  | { readonly kind: "explain"; readonly request: ExplainRequest; readonly turn: number }
  /** Queries that are taken have `drainMs` for their answers. */
  | { readonly kind: "stop"; readonly drainMs: number };

export type FromWorker =
  /** The update is in the answers; the next one may come. */
  | { readonly kind: "applied"; readonly revision: number }
  | { readonly kind: "explained"; readonly turn: number; readonly outcome: ExplainOutcome }
  | {
      readonly kind: "state";
      readonly address: Ip;
      readonly isListening: boolean;
      readonly fds: readonly number[];
    }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly fields: LogFields;
      readonly message: string;
    };
