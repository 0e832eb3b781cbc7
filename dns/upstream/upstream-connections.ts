import type { Message } from "../message/message.ts";
import {
  ConnectionLost,
  type ConnectionOptions,
  UpstreamConnection,
} from "./upstream-connection.ts";
import { UpstreamError } from "./upstream-failure.ts";

export interface ConnectionBounds {
  readonly maxConnections: number;
  /** Queries on their way in one connection; a further one is opened at a quarter of it. */
  readonly maxInFlight: number;
  readonly idleMs: number;
}

export const defaultConnectionBounds: ConnectionBounds = {
  maxConnections: 4,
  maxInFlight: 256,
  idleMs: 10_000,
};

export interface ConnectionsOptions extends Pick<
  ConnectionOptions,
  "upstream" | "clock" | "random" | "ca"
> {
  readonly bounds?: ConnectionBounds;
  /** Told for each query whether it found a connection, or had to open one. */
  readonly onUse?: (isReused: boolean) => void;
}

/** The connections to one upstream: opened when needed, used again, closed when idle. */
export class UpstreamConnections implements Disposable {
  readonly #options: ConnectionsOptions;
  readonly #bounds: ConnectionBounds;
  readonly #open = new Set<UpstreamConnection>();
  #session: Buffer | undefined;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#bounds = options.bounds ?? defaultConnectionBounds;
  }

  get size(): number {
    return this.#open.size;
  }

  /**
   * Asks, once more over a new connection when one that was there before is lost: an upstream may close
   * it at the moment in which it is used again (RFC 7766 section 6.2.4). Rejects with UpstreamError.
   */
  async ask(query: Message, timeoutMs: number): Promise<Message> {
    const startedAtMs = this.#options.clock.monotonicMs();
    const found = this.#leastBusy();
    this.#options.onUse?.(found !== undefined);
    try {
      return await (found ?? this.#connect()).ask(query, timeoutMs);
    } catch (thrown) {
      const leftMs = timeoutMs - (this.#options.clock.monotonicMs() - startedAtMs);
      if (!(thrown instanceof ConnectionLost) || found === undefined || leftMs <= 0) throw thrown;
      const another = this.#leastBusy() ?? this.#connect();
      return await another.ask(query, leftMs);
    }
  }

  /** Queries on their way are rejected. */
  [Symbol.dispose](): void {
    for (const connection of this.#open) connection[Symbol.dispose]();
  }

  #leastBusy(): UpstreamConnection | undefined {
    const { maxConnections, maxInFlight } = this.#bounds;
    const [first] = [...this.#open].toSorted((a, b) => a.inFlight - b.inFlight);
    if (first === undefined) return undefined;
    const isFull = this.#open.size >= maxConnections;
    if (isFull && first.inFlight >= maxInFlight) {
      const { upstream } = this.#options;
      throw new UpstreamError(upstream, `${maxConnections} connections are full of queries`);
    }
    return isFull || first.inFlight < maxInFlight / 4 ? first : undefined;
  }

  #connect(): UpstreamConnection {
    const connection: UpstreamConnection = new UpstreamConnection({
      ...this.#options,
      idleMs: this.#bounds.idleMs,
      session: this.#session,
      onSession: (session) => {
        this.#session = session;
      },
      onClosed: () => this.#open.delete(connection),
    });
    this.#open.add(connection);
    return connection;
  }
}
