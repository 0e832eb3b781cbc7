// The protocol is written as steps that ask for one store operation at a time and go on with the
// answer. So the same code runs against a store, and under an explorer that chooses every answer.
import { setTimeout } from "node:timers/promises";
import { assertNever } from "../../core/assert.ts";
import type { ClaimEntry, ClaimStore, WriteResult } from "./store.ts";

export type Request =
  | { readonly kind: "get"; readonly key: string }
  | { readonly kind: "list"; readonly prefix: string }
  | { readonly kind: "create"; readonly key: string; readonly value: string }
  | { readonly kind: "replace"; readonly entry: ClaimEntry }
  | { readonly kind: "remove"; readonly key: string; readonly revision: string }
  | { readonly kind: "wait"; readonly ms: number };

export type Reply =
  | { readonly kind: "entries"; readonly entries: readonly ClaimEntry[] }
  | WriteResult
  /** No answer: a write may take effect all the same, now or later. */
  | { readonly kind: "uncertain"; readonly cause?: unknown }
  | { readonly kind: "waited" };

export type Steps<T> = Generator<Request, T, Reply>;

export type Uncertain = Extract<Reply, { kind: "uncertain" }>;
export type Written = WriteResult | Uncertain;
type Read = { readonly kind: "read"; readonly entries: readonly ClaimEntry[] } | Uncertain;

const unexpected = (request: Request, reply: Reply): never => {
  throw new Error(`Broken invariant: ${request.kind} was answered with ${reply.kind}`);
};

export function* read(request: Extract<Request, { kind: "get" | "list" }>): Steps<Read> {
  const reply = yield request;
  if (reply.kind === "uncertain") return reply;
  if (reply.kind === "entries") return { kind: "read", entries: reply.entries };
  return unexpected(request, reply);
}

export function* write(
  request: Extract<Request, { kind: "create" | "replace" | "remove" }>,
): Steps<Written> {
  const reply = yield request;
  if (reply.kind === "entries" || reply.kind === "waited") return unexpected(request, reply);
  return reply;
}

export function* wait(ms: number): Steps<void> {
  yield { kind: "wait", ms };
}

/** Runs steps against a store. Rejects only when aborted, or for a fault in the steps themselves. */
export async function runSteps<T>(
  steps: Steps<T>,
  store: ClaimStore,
  signal: AbortSignal,
): Promise<T> {
  let step = steps.next();
  while (step.done !== true) {
    signal.throwIfAborted();
    let reply: Reply;
    try {
      reply = await perform(step.value, store, signal);
    } catch (cause) {
      signal.throwIfAborted();
      reply = { kind: "uncertain", cause };
    }
    step = steps.next(reply);
  }
  return step.value;
}

async function perform(request: Request, store: ClaimStore, signal: AbortSignal): Promise<Reply> {
  switch (request.kind) {
    case "get": {
      const entry = await store.get(request.key, signal);
      return { kind: "entries", entries: entry === undefined ? [] : [entry] };
    }
    case "list":
      return { kind: "entries", entries: await store.list(request.prefix, signal) };
    case "create":
      return store.create(request.key, request.value, signal);
    case "replace":
      return store.replace(request.entry, signal);
    case "remove":
      return store.remove(request.key, request.revision, signal);
    case "wait":
      await setTimeout(request.ms, undefined, { signal });
      return { kind: "waited" };
    default:
      return assertNever(request);
  }
}
