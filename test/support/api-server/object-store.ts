// What the API server keeps in etcd: objects, one revision for all of them, and the history of changes
// until it is compacted.
import { randomUUID } from "node:crypto";
import { Refusal } from "./status.ts";
import { apiVersionOf, type Resource } from "./resource.ts";

export interface ApiObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string | undefined;
    readonly resourceVersion?: string | undefined;
    readonly labels?: Readonly<Record<string, string>>;
    readonly [key: string]: unknown;
  };
  readonly [key: string]: unknown;
}

export interface Change {
  readonly revision: number;
  readonly resource: Resource;
  /** Undefined: it is gone. */
  readonly next: ApiObject | undefined;
  /** Undefined: it is new. */
  readonly before: ApiObject | undefined;
}

/** In the order of the keys that etcd has. */
const keyOf = ({ group, plural }: Resource, namespace: string | undefined, name: string): string =>
  `${group}/${plural}/${namespace === undefined ? "" : `${namespace}/`}${name}`;

export class ObjectStore {
  // An etcd that was just made has revision 1.
  #revision = 1;
  #compacted = 0;
  readonly #objects = new Map<string, ApiObject>();
  #history: Change[] = [];
  readonly #followers = new Set<(change: Change) => void>();

  get revision(): number {
    return this.#revision;
  }

  /** Changes up to this one are forgotten. */
  get compacted(): number {
    return this.#compacted;
  }

  get(resource: Resource, namespace: string | undefined, name: string): ApiObject | undefined {
    return this.#objects.get(keyOf(resource, namespace, name));
  }

  /** At the revision; undefined: now. */
  list(resource: Resource, namespace: string | undefined, revision?: number): readonly ApiObject[] {
    const prefix = keyOf(resource, namespace, "");
    const objects = new Map(
      [...this.#objects].filter(([key]) => key.startsWith(prefix)).map((entry) => entry),
    );
    if (revision !== undefined) {
      for (const change of this.#history.toReversed()) {
        if (change.revision <= revision) break;
        const { namespace: within, name } = (change.next ?? change.before)!.metadata;
        const key = keyOf(change.resource, within, name);
        if (!key.startsWith(prefix)) continue;
        if (change.before === undefined) objects.delete(key);
        else objects.set(key, change.before);
      }
    }
    return [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** Later than the revision, which must not be older than the compaction. */
  since(revision: number): readonly Change[] {
    return this.#history.filter((change) => change.revision > revision);
  }

  follow(follower: (change: Change) => void): Disposable {
    this.#followers.add(follower);
    return { [Symbol.dispose]: () => void this.#followers.delete(follower) };
  }

  create(resource: Resource, object: ApiObject): ApiObject {
    const { name, namespace } = object.metadata;
    if (this.get(resource, namespace, name) !== undefined) {
      throw new Refusal(409, `${resource.plural} "${name}" already exists`, {
        reason: "AlreadyExists",
      });
    }
    const made = {
      ...object,
      metadata: {
        creationTimestamp: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
        ...object.metadata,
        uid: randomUUID(),
      },
    };
    return this.#write(resource, undefined, made);
  }

  /** With a resourceVersion in it, only over this version. Nothing happens where nothing is another. */
  update(resource: Resource, object: ApiObject): ApiObject {
    const { name, namespace, resourceVersion } = object.metadata;
    const before = this.#existing(resource, namespace, name);
    if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion) {
      throw new Refusal(
        409,
        `Operation cannot be fulfilled on ${resource.plural} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
      );
    }
    const { uid, creationTimestamp } = before.metadata;
    const metadata = { ...object.metadata, uid, creationTimestamp };
    const next = { ...object, metadata };
    const rest = { ...next, metadata: { ...metadata, resourceVersion: undefined } };
    const old = { ...before, metadata: { ...before.metadata, resourceVersion: undefined } };
    if (JSON.stringify(sorted(rest)) === JSON.stringify(sorted(old))) return before;
    return this.#write(resource, before, next);
  }

  remove(
    resource: Resource,
    object: { readonly namespace: string | undefined; readonly name: string },
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
  ): ApiObject {
    const before = this.#existing(resource, object.namespace, object.name);
    for (const key of ["uid", "resourceVersion"] as const) {
      const wanted = preconditions[key];
      if (wanted === undefined || wanted === before.metadata[key]) continue;
      throw new Refusal(
        409,
        `Operation cannot be fulfilled on ${resource.plural} "${object.name}": the ${key} in the precondition (${wanted}) does not match the ${key} in record (${before.metadata[key]}). The object might have been modified`,
      );
    }
    const revision = ++this.#revision;
    this.#objects.delete(keyOf(resource, object.namespace, object.name));
    // A watch says of an object that has gone when that was.
    const metadata = { ...before.metadata, resourceVersion: String(revision) };
    this.#tell({ revision, resource, before, next: undefined });
    return { ...before, metadata };
  }

  /** Whatever there was, and whatever rules there are: in the hands of the test. */
  force(resource: Resource, object: ApiObject): ApiObject {
    const { namespace, name } = object.metadata;
    const before = this.get(resource, namespace, name);
    return before === undefined
      ? this.create(resource, object)
      : this.update(resource, {
          ...object,
          metadata: { ...object.metadata, resourceVersion: undefined },
        });
  }

  /** History is forgotten; what is there stays. */
  compact(): void {
    this.#compacted = this.#revision;
    this.#history = [];
  }

  /** As writes to objects that nobody here looks at do. */
  advance(by = 1): void {
    this.#revision += by;
  }

  #existing(resource: Resource, namespace: string | undefined, name: string): ApiObject {
    const found = this.get(resource, namespace, name);
    if (found !== undefined) return found;
    throw new Refusal(404, `${resource.plural} "${name}" not found`, {
      details: { name, group: resource.group, kind: resource.plural },
    });
  }

  #write(resource: Resource, before: ApiObject | undefined, object: ApiObject): ApiObject {
    const revision = ++this.#revision;
    const next = {
      ...object,
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      metadata: { ...object.metadata, resourceVersion: String(revision) },
    };
    const { namespace, name } = object.metadata;
    this.#objects.set(keyOf(resource, namespace, name), next);
    this.#tell({ revision, resource, before, next });
    return next;
  }

  #tell(change: Change): void {
    this.#history.push(change);
    for (const follower of this.#followers) follower(change);
  }
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .filter(([, inner]) => inner !== undefined)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, inner]) => [key, sorted(inner)]),
        )
      : value;
