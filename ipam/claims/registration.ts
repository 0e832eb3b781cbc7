// One machine goes by a node's name at a time.
import type { Random } from "../../core/clock.ts";
import { formatRecord, nodeKey, type NodeRecord, readNode } from "./records.ts";
import { backOff, mostTries } from "./retry.ts";
import { read, type Steps, write } from "./step.ts";

export interface Identity {
  readonly node: string;
  /** Of the machine, as /etc/machine-id: the same after a restart, different on any other machine. */
  readonly instance: string;
}

export interface Registration {
  readonly session: string;
  readonly beat: number;
  readonly revision: string;
}

export type Registered =
  | { readonly kind: "registered"; readonly registration: Registration }
  /** Two nodes with one name, or two processes with one identity. */
  | { readonly kind: "nameTaken"; readonly instance: string }
  | { readonly kind: "uncertain"; readonly cause: unknown };

/**
 * Takes the name, or takes it again after a restart. `previous`: the session that this process had, so
 * that a third one of the same machine means a second process.
 */
export function* register(
  { node, instance }: Identity,
  session: string,
  { previous, random }: { readonly previous?: string | undefined; readonly random: Random },
): Steps<Registered> {
  const key = nodeKey(node);
  const record: NodeRecord = { version: 1, state: "alive", instance, session, beat: 0 };
  const value = formatRecord(record);
  let cause: unknown;
  for (let attempt = 0; attempt < mostTries; attempt++) {
    if (attempt > 0) yield* backOff(attempt, random);
    const found = yield* read({ kind: "get", key });
    if (found.kind === "uncertain") {
      ({ cause } = found);
      continue;
    }
    const [entry] = found.entries;
    if (entry !== undefined) {
      const other = readNode(entry);
      // The first of these: a write of ours that was given up did take effect.
      const isOurs =
        [session, previous].includes(other.session) ||
        (other.instance === instance && previous === undefined);
      if (!isOurs && other.state === "alive")
        return { kind: "nameTaken", instance: other.instance };
    }
    const written = yield* write(
      entry === undefined
        ? { kind: "create", key, value }
        : { kind: "replace", entry: { ...entry, value } },
    );
    if (written.kind === "written") {
      const { revision } = written;
      return { kind: "registered", registration: { session, beat: 0, revision } };
    }
    if (written.kind === "uncertain") ({ cause } = written);
  }
  return { kind: "uncertain", cause };
}

export type Renewed =
  | { readonly kind: "renewed"; readonly registration: Registration }
  /** Another has the name, or nobody: no block is certain any more. */
  | { readonly kind: "ended" }
  | { readonly kind: "uncertain"; readonly cause: unknown };

/** A sign of life: whoever would release this node sees that it is there. */
export function* renew(
  { node, instance }: Identity,
  registration: Registration,
  random: Random,
): Steps<Renewed> {
  const key = nodeKey(node);
  const { session } = registration;
  let { beat, revision } = registration;
  let cause: unknown;
  for (let attempt = 0; attempt < mostTries; attempt++) {
    beat++;
    const value = formatRecord({ version: 1, state: "alive", instance, session, beat });
    const written = yield* write({ kind: "replace", entry: { key, value, revision } });
    if (written.kind === "written") {
      const renewed = { session, beat, revision: written.revision };
      return { kind: "renewed", registration: renewed };
    }
    if (written.kind === "uncertain") ({ cause } = written);
    if (attempt > 0) yield* backOff(attempt, random);
    const found = yield* read({ kind: "get", key });
    if (found.kind === "uncertain") {
      ({ cause } = found);
      continue;
    }
    const [entry] = found.entries;
    const other = entry === undefined ? undefined : readNode(entry);
    // An earlier sign of life may have taken effect without an answer: then the revision is another.
    if (entry !== undefined && other?.session === session && other.state === "alive") {
      if (entry.revision !== revision) cause ??= new Error("the answer to a renewal was lost");
      ({ revision } = entry);
      beat = Math.max(beat, other.beat);
    } else if (written.kind === "conflict") return { kind: "ended" };
  }
  return { kind: "uncertain", cause };
}
