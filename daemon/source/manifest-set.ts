// The files of a cluster, together: which version of each is used, and the snapshot they make.
import {
  type EndpointSlice,
  type Namespace,
  type Node,
  objectKey,
  type Pod,
  type Service,
  type Snapshot,
} from "../../core/cluster/model.ts";
import type { Problem } from "../validate.ts";
import type { Manifest, ManifestObject } from "./manifest.ts";

type Objects = readonly ManifestObject[];

interface File {
  /** What was read last. */
  newest: Manifest;
  /** What is used: the newest version, or the last good one; absent: nothing of the file. */
  used: Objects | undefined;
}

/**
 * Keeps each file whole: all of its newest version is used, or all of its last good one. A file that
 * repeats an object of another is refused; the file that had the object first keeps it, and among new
 * files the one whose path sorts first.
 */
export class ManifestSet {
  readonly #files = new Map<string, File>();
  /** A file that was used has gone since the last settle(). */
  #hasLost = false;

  /** Takes what was read of a file; settle() decides about it. */
  set(path: string, newest: Manifest): void {
    const file = this.#files.get(path);
    if (file === undefined) this.#files.set(path, { newest, used: undefined });
    else file.newest = newest;
  }

  /** The file is gone, and what it said with it. */
  remove(path: string): void {
    this.#hasLost ||= this.#files.get(path)?.used !== undefined;
    this.#files.delete(path);
  }

  /** Which version of each file is used from now on, and what is wrong with those that are not. */
  settle(): { readonly problems: readonly string[]; readonly hasChanged: boolean } {
    const problems: string[] = [];
    const used = new Map<string, Objects | undefined>();
    const order = [...this.#files.keys()].sort();
    for (const path of order) {
      const file = this.#files.get(path);
      if (file?.newest.kind === "valid") used.set(path, file.newest.objects);
      else {
        used.set(path, file?.used);
        const suffix = keptOf(file?.used);
        const found = file?.newest.problems ?? [];
        problems.push(...found.map((problem) => formatProblem(path, problem) + suffix));
      }
    }
    problems.push(...this.#settleConflicts(order, used));
    let hasChanged = this.#hasLost;
    this.#hasLost = false;
    for (const [path, file] of this.#files) {
      const objects = used.get(path);
      hasChanged ||= objects !== file.used;
      file.used = objects;
    }
    return { problems, hasChanged };
  }

  // Each round sends one file back to its last good version. Those were free of conflicts among
  // themselves, so that there are at most as many rounds as files.
  #settleConflicts(order: readonly string[], used: Map<string, Objects | undefined>): string[] {
    const problems: string[] = [];
    for (let round = 0; round < order.length; round++) {
      const conflict = this.#findConflict(order, used);
      if (conflict === undefined) break;
      const { loser, object, winner, winnerLine } = conflict;
      const lastGood = this.#files.get(loser)?.used;
      used.set(loser, lastGood);
      const message = `Cannot use ${object.key}: it is also in ${winner}:${winnerLine}`;
      problems.push(formatProblem(loser, { line: object.line, message }) + keptOf(lastGood));
    }
    return problems;
  }

  #findConflict(order: readonly string[], used: ReadonlyMap<string, Objects | undefined>) {
    const owners = new Map<string, { readonly path: string; readonly object: ManifestObject }>();
    for (const path of order) {
      for (const object of used.get(path) ?? []) {
        const owner = owners.get(object.key);
        if (owner === undefined) owners.set(object.key, { path, object });
        else if (this.#had(path, object.key) && !this.#had(owner.path, object.key)) {
          return { loser: owner.path, object: owner.object, winner: path, winnerLine: object.line };
        } else {
          return { loser: path, object, winner: owner.path, winnerLine: owner.object.line };
        }
      }
    }
    return undefined;
  }

  #had(path: string, key: string): boolean {
    return this.#files.get(path)?.used?.some((object) => object.key === key) ?? false;
  }

  snapshot(revision: number, isInSync: boolean): Snapshot {
    const nodes = new Map<string, Node>();
    const namespaces = new Map<string, Namespace>();
    const services = new Map<string, Service>();
    const endpointSlices = new Map<string, EndpointSlice>();
    const pods = new Map<string, Pod>();
    for (const { used = [] } of this.#files.values()) {
      for (const { value } of used) {
        const { object } = value;
        switch (value.kind) {
          case "Node":
            nodes.set(object.name, value.object);
            break;
          case "Namespace":
            namespaces.set(object.name, value.object);
            break;
          case "Service":
            services.set(objectKey(value.object.namespace, object.name), value.object);
            break;
          case "EndpointSlice":
            endpointSlices.set(objectKey(value.object.namespace, object.name), value.object);
            break;
          case "Pod":
            pods.set(objectKey(value.object.namespace, object.name), value.object);
        }
      }
    }
    return { revision, isInSync, nodes, namespaces, services, endpointSlices, pods };
  }
}

const formatProblem = (path: string, { line, message }: Problem): string =>
  `${path}:${line}: ${message}`;

const keptOf = (used: Objects | undefined): string =>
  used === undefined ? " (nothing of this file is used)" : " (its last good version is kept)";
