// A client of an etcd cluster: one connection at a time, to the first endpoint that answers.
import { readFileSync } from "node:fs";
import type { SecureContextOptions } from "node:tls";
import { describeError } from "../../core/error.ts";
import {
  type CallOptions,
  type GrpcChannel,
  grpcCode,
  GrpcError,
  openGrpc,
} from "../grpc/channel.ts";
import { certificateProblem } from "./certificate.ts";
import {
  type Condition,
  decodeKeepAlive,
  decodeLeaseGrant,
  decodeLogin,
  decodePage,
  decodeTransaction,
  decodeWatch,
  encodeGet,
  encodeLease,
  encodeLeaseGrant,
  encodeLogin,
  encodePage,
  encodeTransaction,
  encodeWatch,
  endOfPrefix,
  type KeyValue,
  type Page,
  type TransactionResult,
  type WatchAnswer,
  type Write,
} from "./messages.ts";

export interface EtcdSettings {
  /** `http://host:port` or `https://host:port`, tried in turn. */
  readonly endpoints: readonly string[];
  /** Paths of PEM files, read at each connection: certificates are renewed while we run. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly user?: string;
  /** A file whose text, without the line's end, is the user's password; read at each login. */
  readonly passwordFile?: string;
}

export interface EtcdTiming {
  readonly connectMs: number;
  readonly callMs: number;
  readonly pingEveryMs: number;
}

/** For a command that somebody waits for: all endpoints are tried within `totalMs`, or about that. */
export function hastyTiming({ endpoints }: EtcdSettings, totalMs: number): EtcdTiming {
  const eachMs = Math.max(500, Math.floor(totalMs / endpoints.length));
  return { ...usualTiming, connectMs: eachMs, callMs: eachMs };
}

// etcd takes pings more often than every 5 s for an attack (--grpc-keepalive-min-time).
const usualTiming: EtcdTiming = { connectMs: 3000, callMs: 5000, pingEveryMs: 10_000 };

/** Keys of one answer to a list. */
const pageSize = 1000;

interface Connection {
  readonly endpoint: string;
  readonly channel: GrpcChannel;
  token: string | undefined;
}

const methods = {
  range: "/etcdserverpb.KV/Range",
  transaction: "/etcdserverpb.KV/Txn",
  watch: "/etcdserverpb.Watch/Watch",
  grant: "/etcdserverpb.Lease/LeaseGrant",
  revoke: "/etcdserverpb.Lease/LeaseRevoke",
  keepAlive: "/etcdserverpb.Lease/LeaseKeepAlive",
  login: "/etcdserverpb.Auth/Authenticate",
} as const;

/** Every method rejects when no endpoint answers; a write may then have taken effect, or still take it. */
export class EtcdClient implements Disposable {
  readonly #settings: EtcdSettings;
  readonly #timing: EtcdTiming;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  /** The endpoint to begin with. */
  #next = 0;
  #isDisposed = false;

  constructor(settings: EtcdSettings, timing: EtcdTiming = usualTiming) {
    this.#settings = settings;
    this.#timing = timing;
  }

  /** For an operator: where it looks. */
  get location(): string {
    return this.#settings.endpoints.join(",");
  }

  /** This machine's, as the endpoint sees it; undefined while none is connected. */
  get localAddress(): string | undefined {
    return this.#connection?.channel.localAddress;
  }

  async get(key: string, signal: AbortSignal): Promise<KeyValue | undefined> {
    return decodePage(await this.#read(methods.range, encodeGet(key), signal)).entries[0];
  }

  /** Every key that starts so, in pages, all as of the revision of the first page. */
  async *pages(prefix: string, signal: AbortSignal): AsyncGenerator<Page, void> {
    const end = endOfPrefix(prefix);
    let [from, revision] = [prefix, 0n];
    for (;;) {
      const request = encodePage({ from, end, limit: pageSize, revision });
      const page = decodePage(await this.#read(methods.range, request, signal));
      yield page;
      const last = page.entries.at(-1);
      if (!page.hasMore || last === undefined) return;
      ({ revision } = page.header);
      // The least key after it.
      from = `${last.key}\0`;
    }
  }

  /** All of the writes when every condition holds, else nothing. */
  async transact(
    conditions: readonly Condition[],
    writes: readonly Write[],
    signal: AbortSignal,
  ): Promise<TransactionResult> {
    const request = encodeTransaction(conditions, writes);
    return decodeTransaction(await this.#call(methods.transaction, request, signal));
  }

  /**
   * What happens to keys that start so, from the revision on; without an end, but that an error is
   * thrown, or that the server cancels it: the last answer says so.
   */
  async *watch(
    prefix: string,
    startRevision: bigint,
    signal: AbortSignal,
  ): AsyncGenerator<WatchAnswer, void> {
    const connection = await this.#connected();
    // A member that has lost the others ends the watch, rather than be silent.
    const metadata = { ...metadataOf(connection), hasleader: "true" };
    const request = encodeWatch(prefix, startRevision);
    try {
      const answers = connection.channel.stream(methods.watch, request, { metadata, signal });
      for await (const octets of answers) yield decodeWatch(octets);
    } catch (error) {
      throw this.#judge(error, connection);
    }
  }

  /** Resolves with the lease's id. */
  async grantLease(ttlSeconds: number, signal: AbortSignal): Promise<bigint> {
    return decodeLeaseGrant(await this.#call(methods.grant, encodeLeaseGrant(ttlSeconds), signal));
  }

  /** False when there is no such lease any more. */
  async keepLease(id: bigint, signal: AbortSignal): Promise<boolean> {
    return decodeKeepAlive(await this.#read(methods.keepAlive, encodeLease(id), signal)) > 0;
  }

  async revokeLease(id: bigint, signal: AbortSignal): Promise<void> {
    await this.#call(methods.revoke, encodeLease(id), signal);
  }

  /** Breaks the connection, so that the next call chooses another endpoint. */
  moveOn(): void {
    if (this.#connection !== undefined) this.#drop(this.#connection);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#connection?.channel[Symbol.dispose]();
  }

  /** As #call, but asked of one endpoint after the other: to ask twice does no harm. */
  async #read(method: string, request: Buffer, signal: AbortSignal): Promise<Buffer> {
    const failures = new Set<string>();
    for (let left = this.#settings.endpoints.length - 1; ; left--) {
      try {
        return await this.#call(method, request, signal);
      } catch (error) {
        if (!(error instanceof EtcdError) || !isUnreachable(error)) throw error;
        failures.add(error.message);
        if (left <= 0 || error instanceof NoneReached)
          throw new EtcdError([...failures].join("; "), error.code);
      }
    }
  }

  async #call(method: string, request: Buffer, signal: AbortSignal): Promise<Buffer> {
    signal.throwIfAborted();
    const connection = await this.#connected();
    const { callMs: timeoutMs } = this.#timing;
    const options = (): CallOptions => ({ signal, timeoutMs, metadata: metadataOf(connection) });
    try {
      return await connection.channel.call(method, request, options());
    } catch (error) {
      // The token has ended (--auth-token-ttl, a restart): nothing was done.
      if (!isTokenRefused(error) || connection.token === undefined) {
        throw this.#judge(error, connection);
      }
    }
    try {
      connection.token = await this.#login(connection.channel);
      return await connection.channel.call(method, request, options());
    } catch (error) {
      throw this.#judge(error, connection);
    }
  }

  #judge(error: unknown, connection: Connection): unknown {
    if (!(error instanceof GrpcError)) return error;
    const isGone = isUnreachable(error);
    if (isGone) this.#drop(connection);
    const hint = isGone ? this.#hint() : "";
    return new EtcdError(`etcd at ${connection.endpoint}: ${error.reason}${hint}`, error.code);
  }

  #drop(connection: Connection): void {
    connection.channel[Symbol.dispose]();
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#next++;
  }

  async #connected(): Promise<Connection> {
    const known = this.#connection;
    if (known?.channel.isOpen === true) return known;
    if (known !== undefined) this.#drop(known);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<Connection> {
    const { endpoints } = this.#settings;
    const failures: string[] = [];
    let code: number = grpcCode.unavailable;
    for (let tried = 0; tried < endpoints.length && !this.#isDisposed; tried++) {
      const endpoint = endpoints[this.#next % endpoints.length] ?? "";
      try {
        const connection = await this.#connectTo(endpoint);
        this.#connection = connection;
        return connection;
      } catch (error) {
        this.#next++;
        const reason = error instanceof GrpcError ? error.reason : describeError(error);
        if (error instanceof GrpcError) ({ code } = error);
        failures.push(`${endpoint}: ${reason}`);
      }
    }
    throw new NoneReached(`Cannot reach etcd at ${failures.join("; ")}${this.#hint()}`, code);
  }

  #hint(): string {
    const problem = certificateProblem(this.#settings, Date.now());
    return problem === undefined ? "" : ` (${problem})`;
  }

  async #connectTo(endpoint: string): Promise<Connection> {
    const { connectMs, pingEveryMs } = this.#timing;
    const channel = openGrpc(endpoint, { tls: this.#readTls(), pingEveryMs });
    try {
      await channel.connected(connectMs);
      return { endpoint, channel, token: await this.#login(channel) };
    } catch (error) {
      channel[Symbol.dispose]();
      throw error;
    }
  }

  #readTls(): SecureContextOptions {
    const { ca, cert, key } = this.#settings;
    return {
      ...(ca !== undefined && { ca: readFileSync(ca) }),
      ...(cert !== undefined && { cert: readFileSync(cert) }),
      ...(key !== undefined && { key: readFileSync(key) }),
    };
  }

  async #login(channel: GrpcChannel): Promise<string | undefined> {
    const { user, passwordFile } = this.#settings;
    if (user === undefined) return undefined;
    const password =
      passwordFile === undefined ? "" : readFileSync(passwordFile, "utf8").replace(/\r?\n$/, "");
    const timeoutMs = this.#timing.callMs;
    try {
      const answer = await channel.call(methods.login, encodeLogin(user, password), { timeoutMs });
      return decodeLogin(answer);
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      throw new GrpcError(methods.login, error.code, `cannot log in as "${user}": ${error.reason}`);
    }
  }
}

/** What etcd answered, or that nothing of it did. */
export class EtcdError extends Error {
  /** gRPC's. */
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.name = "EtcdError";
    this.code = code;
  }

  /** What was asked for is older than what etcd keeps. */
  get isCompacted(): boolean {
    return this.code === grpcCode.outOfRange;
  }
}

/** Every endpoint was tried. */
class NoneReached extends EtcdError {}

const metadataOf = ({ token }: Connection): Record<string, string> =>
  token === undefined ? {} : { token };

/** Another endpoint may answer: this one is not there, or has lost the others ("no leader"). */
const isUnreachable = (error: unknown): boolean =>
  (error instanceof GrpcError || error instanceof EtcdError) &&
  (error.code === grpcCode.unavailable || error.code === grpcCode.deadlineExceeded);

const isTokenRefused = (error: unknown): boolean =>
  error instanceof GrpcError &&
  (error.code === grpcCode.unauthenticated || error.reason.includes("revision of auth store"));
