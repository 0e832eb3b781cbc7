// Snapshots one after another: each kind of object is copied only when one of it has changed.
import { MapLine } from "../../core/cluster/map-line.ts";
import type { Attachment } from "../../core/cluster/attachment.ts";
import {
  type EndpointSlice,
  type Namespace,
  type Node,
  objectKey,
  type Pod,
  type Service,
  type Snapshot,
} from "../../core/cluster/model.ts";
import type { ClusterObject } from "./cluster-object.ts";

export class SnapshotBuilder {
  readonly #nodes = new Kind<Node>();
  readonly #namespaces = new Kind<Namespace>();
  readonly #services = new Kind<Service>();
  readonly #endpointSlices = new Kind<EndpointSlice>();
  readonly #pods = new Kind<Pod>();
  readonly #attachments = new Kind<Attachment>();

  put({ kind, object }: ClusterObject): void {
    switch (kind) {
      case "Node":
        return this.#nodes.put(object.name, object);
      case "Namespace":
        return this.#namespaces.put(object.name, object);
      case "Service":
        return this.#services.put(objectKey(object.namespace, object.name), object);
      case "EndpointSlice":
        return this.#endpointSlices.put(objectKey(object.namespace, object.name), object);
      case "Pod":
        return this.#pods.put(objectKey(object.namespace, object.name), object);
      case "Attachment":
        return this.#attachments.put(object.id, object);
    }
  }

  remove({ kind, object }: ClusterObject): void {
    switch (kind) {
      case "Node":
        return this.#nodes.remove(object.name);
      case "Namespace":
        return this.#namespaces.remove(object.name);
      case "Service":
        return this.#services.remove(objectKey(object.namespace, object.name));
      case "EndpointSlice":
        return this.#endpointSlices.remove(objectKey(object.namespace, object.name));
      case "Pod":
        return this.#pods.remove(objectKey(object.namespace, object.name));
      case "Attachment":
        return this.#attachments.remove(object.id);
    }
  }

  build(revision: number, isInSync: boolean): Snapshot {
    const attachments = this.#attachments.all();
    return {
      revision,
      isInSync,
      nodes: this.#nodes.all(),
      namespaces: this.#namespaces.all(),
      services: this.#services.all(),
      endpointSlices: this.#endpointSlices.all(),
      pods: this.#pods.all(),
      ...(attachments.size > 0 && { attachments }),
    };
  }
}

/** Objects of one kind. What was given out is not changed any more. */
class Kind<T> {
  readonly #line = new MapLine();
  #objects = new Map<string, T>();
  #isGivenOut = false;

  put(key: string, object: T): void {
    if (this.#objects.get(key) === object) return;
    this.#own().set(key, object);
    this.#line.note(key);
  }

  remove(key: string): void {
    if (!this.#objects.has(key)) return;
    this.#own().delete(key);
    this.#line.note(key);
  }

  all(): ReadonlyMap<string, T> {
    this.#isGivenOut = true;
    this.#line.mark(this.#objects);
    return this.#objects;
  }

  #own(): Map<string, T> {
    if (this.#isGivenOut) this.#objects = new Map(this.#objects);
    this.#isGivenOut = false;
    return this.#objects;
  }
}
