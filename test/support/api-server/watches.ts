// Watches: each an open response that is told of changes, one JSON object on a line each.
import type { ServerResponse } from "node:http";
import { setTimeout } from "node:timers/promises";
import { apiVersionOf, type Target } from "./resource.ts";
import { revisionOf, selectionOf } from "./requests.ts";
import type { ApiObject, Change, ObjectStore } from "./object-store.ts";
import { Refusal } from "./status.ts";
import type { Matches } from "./selector.ts";

interface Watch {
  readonly target: Target;
  readonly matches: Matches;
  readonly response: ServerResponse;
  readonly hasBookmarks: boolean;
  readonly stop: () => void;
  /** What waits to be sent, one after the other; undefined: nothing does. */
  waiting: Promise<void> | undefined;
}

export class Watches {
  readonly #store: ObjectStore;
  readonly #open = new Set<Watch>();
  /** How long an event waits before it is sent. */
  delayMs = 0;

  constructor(store: ObjectStore) {
    this.#store = store;
    store.follow((change) => {
      for (const watch of this.#open) this.#send(watch, change);
    });
  }

  get size(): number {
    return this.#open.size;
  }

  open(target: Target, query: URLSearchParams, response: ServerResponse): void {
    const store = this.#store;
    const matches = selectionOf(target, query);
    const revision = revisionOf(query, store);
    const seconds = Number(query.get("timeoutSeconds") ?? "1800");
    response.writeHead(200, { "content-type": "application/json", "transfer-encoding": "chunked" });
    response.flushHeaders();
    if (revision !== undefined && revision !== 0 && revision < store.compacted) {
      const { status } = new Refusal(
        410,
        `too old resource version: ${revision} (${store.compacted})`,
      );
      response.end(`${JSON.stringify({ type: "ERROR", object: status })}\n`);
      return;
    }
    const timer = globalThis.setTimeout(() => {
      this.#bookmark(watch);
      response.end();
    }, seconds * 1000);
    const watch: Watch = {
      target,
      matches,
      response,
      hasBookmarks: ["1", "true"].includes(query.get("allowWatchBookmarks") ?? ""),
      waiting: undefined,
      stop: () => {
        clearTimeout(timer);
        this.#open.delete(watch);
      },
    };
    response.once("close", watch.stop);
    if (revision === undefined || revision === 0) {
      const { resource, namespace } = target;
      for (const object of store.list(resource, namespace).filter(matches)) {
        this.#write(watch, "ADDED", object);
      }
    } else for (const change of store.since(revision)) this.#send(watch, change);
    this.#open.add(watch);
  }

  /** Tells every watch that wants to know how far it is. */
  bookmark(): void {
    for (const watch of this.#open) this.#bookmark(watch);
  }

  /** Breaks all, as a proxy that dies does: without an end. */
  cut(): void {
    for (const watch of this.#open) watch.response.destroy();
  }

  /** Sends every watch this line. */
  say(line: string): void {
    for (const { response } of this.#open) response.write(line);
  }

  #bookmark(watch: Watch): void {
    if (!watch.hasBookmarks) return;
    const { resource } = watch.target;
    const metadata = { resourceVersion: String(this.#store.revision), creationTimestamp: null };
    this.#write(watch, "BOOKMARK", {
      kind: resource.kind,
      apiVersion: apiVersionOf(resource),
      metadata,
    });
  }

  #send(watch: Watch, { resource, next, before, revision }: Change): void {
    const { target, matches } = watch;
    const isIn = (object: ApiObject | undefined): object is ApiObject =>
      object !== undefined &&
      resource === target.resource &&
      (target.namespace === undefined || object.metadata.namespace === target.namespace) &&
      (target.name === undefined || object.metadata.name === target.name) &&
      matches(object);
    if (isIn(next)) this.#write(watch, isIn(before) ? "MODIFIED" : "ADDED", next);
    else if (isIn(before)) {
      // Of an object that has left the selection, its last state there with the new version.
      const metadata = { ...before.metadata, resourceVersion: String(revision) };
      this.#write(watch, "DELETED", { ...before, metadata });
    }
  }

  #write(watch: Watch, type: string, object: object): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    const { delayMs } = this;
    if (delayMs === 0 && watch.waiting === undefined) return void watch.response.write(line);
    const sent = (watch.waiting ?? Promise.resolve()).then(async () => {
      await setTimeout(delayMs);
      watch.response.write(line);
      if (watch.waiting === sent) watch.waiting = undefined;
    });
    watch.waiting = sent;
  }
}
