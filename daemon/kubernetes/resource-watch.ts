// One resource, listed and then watched for ever ("Efficient detection of changes", Kubernetes API
// Concepts): what is cut off goes on where it was, and only what the server has forgotten is listed again.
import { setTimeout } from "node:timers/promises";
import * as v from "valibot";
import type { Clock, Random } from "../../core/clock.ts";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import { Backoff, type BackoffTiming } from "../source/backoff.ts";
import type { Turns } from "../source/turns.ts";
import { type ApiClient, chunksOf } from "./api-client.ts";
import { ApiError, toApiError } from "./api-error.ts";
import { ItemSplitter } from "./item-splitter.ts";
import { LineSplitter } from "./line-splitter.ts";

export interface WatchedResource {
  /** For people, and in paths: `endpointslices`. */
  readonly name: string;
  /** Of the collection: `/apis/discovery.k8s.io/v1/endpointslices`. */
  readonly path: string;
  readonly fieldSelector?: string;
}

/** Who keeps what is read. */
export interface ResourceSink {
  /** A list begins: what it does not have by its end is gone. */
  startList(): void;
  /** An object as a list has it, without kind and apiVersion, or as a watch has it, with them. */
  put(object: unknown): void;
  remove(object: unknown): void;
  endList(): void;
  /** Why it cannot be read; undefined: it can. */
  trouble(reason: string | undefined): void;
}

export interface WatchTiming extends BackoffTiming {
  /** A watch is asked to end after this time, and up to as much again, at random. */
  readonly watchMs: number;
  /** Without a byte of a list. */
  readonly idleMs: number;
}

/** As other clients of the API have it, but for the first wait. */
export const usualTiming: WatchTiming = {
  firstMs: 200,
  mostMs: 30_000,
  watchMs: 300_000,
  idleMs: 30_000,
};

export interface ResourceWatchOptions {
  readonly client: ApiClient;
  readonly resource: WatchedResource;
  readonly sink: ResourceSink;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly timing: WatchTiming;
  /** With the other resources' lists: read at the same time, they are 100 MB in a large cluster. */
  readonly turns: Turns;
}

/** Where a server answers from etcd: so many objects at a time, as other clients do. */
const chunkItems = 500;
/** Nodes that are told so together list again within this time. */
const goneWithinMs = 500;
/** A watch that ends sooner than this has failed, whatever it says. */
const shortWatchMs = 1000;
// After the end that was asked for: then the server, or the way to it, hangs.
const lateMs = 30_000;

const listSchema = v.object({
  metadata: v.object({
    resourceVersion: v.optional(v.string(), ""),
    continue: v.optional(v.string(), ""),
  }),
});

const eventSchema = v.object({
  type: v.string(),
  object: v.looseObject({}),
});

const versionSchema = v.object({ metadata: v.object({ resourceVersion: v.string() }) });

export class ResourceWatch implements Disposable {
  readonly #options: ResourceWatchOptions;
  readonly #disposal = new AbortController();
  readonly #backoff: Backoff;
  /** From where a watch goes on; undefined: a list is due. */
  #version: string | undefined;
  /** At least so new the next list must be: "0" any, "" the newest. */
  #notOlder = "0";
  /** The server has forgotten the version, and no watch has gone well since. */
  #isGoneAgain = false;

  constructor(options: ResourceWatchOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.timing, options.random);
    void this.#run();
  }

  [Symbol.dispose](): void {
    this.#disposal.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#disposal;
    while (!signal.aborted) {
      try {
        this.#version ??= await this.#list();
        await this.#watch(this.#version);
      } catch (error) {
        if (signal.aborted) return;
        await this.#recover(error);
      }
    }
  }

  async #recover(error: unknown): Promise<void> {
    const { sink, log, resource } = this.#options;
    const { signal } = this.#disposal;
    const reason = describeError(error);
    if (error instanceof ApiError && error.isGone) {
      // What was read stays until a new list says otherwise.
      log.info({ resource: resource.name, reason }, "lists a resource again");
      this.#version = undefined;
      this.#notOlder = "";
    } else if (error instanceof CutOff) {
      log.debug({ resource: resource.name, reason }, "a watch was cut off");
    } else sink.trouble(reason);
    const waitMs = this.#waitAfter(error);
    try {
      await setTimeout(waitMs, undefined, { signal, ref: false });
    } catch {
      // Who is disposed waits no longer.
    }
  }

  /**
   * A server that starts has forgotten all, and answers again: what it now has is not waited for, whatever
   * the waits were while it was away. A second time, before a watch has gone well, counts as a failure.
   */
  #waitAfter(error: unknown): number {
    const { random } = this.#options;
    if (!(error instanceof ApiError)) return this.#backoff.next();
    if (!error.isGone || this.#isGoneAgain) return this.#backoff.next(error.retryAfterMs);
    this.#isGoneAgain = true;
    return random.below(goneWithinMs);
  }

  #goesWell(): void {
    this.#backoff.succeed();
    this.#isGoneAgain = false;
  }

  /** All of it, in as many chunks as the server makes. Gives the version that it was at. */
  async #list(): Promise<string> {
    const { sink } = this.#options;
    let token = "";
    sink.startList();
    for (;;) {
      const { metadata } = await this.#listChunk(token);
      token = metadata.continue;
      if (token !== "") continue;
      sink.endList();
      sink.trouble(undefined);
      this.#backoff.succeed();
      this.#notOlder = metadata.resourceVersion;
      return metadata.resourceVersion;
    }
  }

  async #listChunk(token: string): Promise<v.InferOutput<typeof listSchema>> {
    const { client, sink, resource, timing, turns } = this.#options;
    const isFirst = token === "";
    const request = {
      path: resource.path,
      query: {
        limit: String(chunkItems),
        ...(isFirst && this.#notOlder !== "" && notOlderThan(this.#notOlder)),
        ...(!isFirst && { continue: token }),
        ...selectorOf(resource),
      },
    };
    const response = await client.open(request, this.#disposal.signal);
    const splitter = new ItemSplitter((item) => sink.put(item));
    for await (const chunk of chunksOf(response, timing.idleMs)) {
      await turns.next();
      splitter.write(chunk);
    }
    const parsed = v.safeParse(listSchema, splitter.end());
    if (parsed.success) return parsed.output;
    throw new Error("the answer is no list: it has no metadata");
  }

  /** Until the server ends it, which is no failure. */
  async #watch(version: string): Promise<void> {
    const { client, sink, resource, clock, random, timing } = this.#options;
    const seconds = Math.ceil((timing.watchMs + random.below(timing.watchMs)) / 1000);
    const deadline = AbortSignal.timeout(seconds * 1000 + lateMs);
    const signal = AbortSignal.any([deadline, this.#disposal.signal]);
    const query = {
      watch: "1",
      resourceVersion: version,
      allowWatchBookmarks: "true",
      timeoutSeconds: String(seconds),
      ...selectorOf(resource),
    };
    const response = await client.open({ path: resource.path, query }, signal);
    const startedAtMs = clock.monotonicMs();
    sink.trouble(undefined);
    const splitter = new LineSplitter();
    try {
      for await (const chunk of response) {
        if (!Buffer.isBuffer(chunk)) continue;
        for (const line of splitter.write(chunk)) this.#take(line);
      }
    } catch (error) {
      if (
        error instanceof ApiError ||
        error instanceof SyntaxError ||
        error instanceof RangeError
      ) {
        response.destroy();
        throw error;
      }
      if (deadline.aborted) return;
      if (clock.monotonicMs() - startedAtMs > shortWatchMs) this.#goesWell();
      throw new CutOff("the watch was cut off", { cause: error });
    }
    if (clock.monotonicMs() - startedAtMs < shortWatchMs) {
      throw new CutOff("the server ended the watch at once");
    }
    this.#goesWell();
  }

  #take(line: unknown): void {
    const { sink, resource, log } = this.#options;
    const event = v.safeParse(eventSchema, line);
    if (!event.success) throw new SyntaxError("an event of a watch without a type or an object");
    const { type, object } = event.output;
    if (type === "ERROR") throw toApiError(object, 0);
    const version = v.safeParse(versionSchema, object);
    if (type === "ADDED" || type === "MODIFIED") sink.put(object);
    else if (type === "DELETED") sink.remove(object);
    else if (type !== "BOOKMARK")
      log.warn({ resource: resource.name, type }, "unknown watch event");
    if (!version.success) return;
    this.#version = version.output.metadata.resourceVersion;
    this.#notOlder = this.#version;
    this.#goesWell();
  }
}

/** What was open has ended too early: to go on is no more than a request. */
class CutOff extends Error {}

const notOlderThan = (version: string): Readonly<Record<string, string>> => ({
  resourceVersion: version,
  resourceVersionMatch: "NotOlderThan",
});

const selectorOf = ({ fieldSelector }: WatchedResource): Readonly<Record<string, string>> =>
  fieldSelector === undefined ? {} : { fieldSelector };
