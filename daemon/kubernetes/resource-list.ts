// What a resource of the API tells, put into the set of the cluster's objects: one kind of them.
import { isRecord } from "../files/yaml-file.ts";
import { objectKeyOf } from "../source/cluster-object.ts";
import { serviceNameLabel } from "../source/kubernetes-schema.ts";
import type { ObjectSet } from "../source/object-set.ts";
import { type ReadKind, trimObject } from "../source/trim-object.ts";
import type { ResourceSink } from "./resource-watch.ts";

export interface ResourceListOptions {
  readonly kind: ReadKind;
  readonly apiVersion: string;
  readonly objects: ObjectSet;
  /** An object, or how it stands with the resource, may be another. */
  readonly onChange: () => void;
  /** Is given every object as the API has it. */
  readonly observe?: (raw: unknown) => void;
}

export class ResourceList implements ResourceSink {
  readonly #options: ResourceListOptions;
  /** While a list is read: what it has not had yet. */
  #unseen: Set<string> | undefined;
  #isListed = false;
  #trouble: string | undefined;

  constructor(options: ResourceListOptions) {
    this.#options = options;
  }

  /** A list has once been complete. */
  get isListed(): boolean {
    return this.#isListed;
  }

  /** Why the resource cannot be read now. */
  get reason(): string | undefined {
    return this.#trouble;
  }

  startList(): void {
    const { kind, objects } = this.#options;
    const own = objects.keys().filter((key) => key.startsWith(`${kind} `));
    this.#unseen = new Set(own);
  }

  put(raw: unknown): void {
    const { kind, apiVersion, objects, onChange, observe } = this.#options;
    observe?.(raw);
    const key = keyOf(kind, raw);
    this.#unseen?.delete(key);
    // Of no service: made by hand, for who finds it by itself.
    if (kind === "EndpointSlice" && !hasService(raw)) objects.remove(key);
    else objects.put(key, trimObject(kind, apiVersion, raw));
    onChange();
  }

  remove(raw: unknown): void {
    const { kind, objects, onChange } = this.#options;
    objects.remove(keyOf(kind, raw));
    onChange();
  }

  endList(): void {
    const { objects, onChange } = this.#options;
    for (const key of this.#unseen ?? []) objects.remove(key);
    this.#unseen = undefined;
    this.#isListed = true;
    onChange();
  }

  trouble(reason: string | undefined): void {
    if (reason === this.#trouble) return;
    this.#trouble = reason;
    this.#options.onChange();
  }

  /**
   * What was there when this node last knew, where the API has not said more: a list that comes later says
   * what of it is still true.
   */
  remember(raw: unknown): void {
    const { kind, objects } = this.#options;
    const isOwn = isRecord(raw) && raw["kind"] === kind;
    const key = keyOf(kind, raw);
    if (this.#isListed || !isOwn || objects.has(key)) return;
    objects.put(key, raw);
    this.#unseen?.add(key);
  }
}

/** Also of what is otherwise useless. */
function keyOf(kind: ReadKind, raw: unknown): string {
  const metadata = isRecord(raw) ? raw["metadata"] : undefined;
  const { namespace, name } = isRecord(metadata) ? metadata : {};
  return objectKeyOf(kind, {
    name: typeof name === "string" ? name : "without a name",
    ...(typeof namespace === "string" && { namespace }),
  });
}

function hasService(raw: unknown): boolean {
  const metadata = isRecord(raw) ? raw["metadata"] : undefined;
  const labels = isRecord(metadata) ? metadata["labels"] : undefined;
  return isRecord(labels) && serviceNameLabel in labels;
}
