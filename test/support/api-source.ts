// A Kubernetes source and the small API server that it reads, in the hands of a test.
import { expect, onTestFinished, vi } from "vitest";
import type { Snapshot } from "../../core/cluster/model.ts";
import type { Source } from "../../daemon/source/source.ts";
import { ApiServer, type ApiServerOptions } from "./api-server/server.ts";
import { type OpenOptions, openSourceOf, resourceOf } from "./api-world.ts";
import type { KubernetesObject } from "./source-world.ts";

export const waiting = { timeout: 30_000, interval: 5 };

export async function start(options: ApiServerOptions = {}): Promise<ApiServer> {
  const server = await ApiServer.start(options);
  onTestFinished(() => server[Symbol.asyncDispose]());
  return server;
}

export function open(server: ApiServer, options: OpenOptions = {}) {
  const source = openSourceOf(server, options);
  const seen: Snapshot[] = [];
  source.subscribe(({ snapshot }) => seen.push(snapshot));
  onTestFinished(() => source[Symbol.dispose]());
  return { source, seen };
}

export function put(
  server: ApiServer,
  ...objects: readonly { readonly object: KubernetesObject }[]
): void {
  for (const { object } of objects) server.store.force(resourceOf(object)!, object);
}

export function remove(server: ApiServer, { object }: { readonly object: KubernetesObject }): void {
  const { namespace, name } = object.metadata;
  server.store.remove(resourceOf(object)!, { namespace, name });
}

export const inSync = (source: Source): Promise<void> =>
  vi.waitFor(() => expect(source.state().snapshot.isInSync).toBe(true), waiting);
export const nodes = (source: Source): readonly string[] => [
  ...source.state().snapshot.nodes.keys(),
];
export const hasNodes = (source: Source, ...names: readonly string[]): Promise<void> =>
  vi.waitFor(() => expect(nodes(source)).toEqual(names), waiting);
export const hasProblem = (source: Source, text: string): Promise<void> =>
  vi.waitFor(() => expect(source.state().problems.join("\n")).toContain(text), waiting);
export const isWell = (source: Source): Promise<void> =>
  vi.waitFor(() => expect(source.state().problems).toEqual([]), waiting);
export const watched = (server: ApiServer): Promise<void> =>
  vi.waitFor(() => expect(server.watches.size).toBe(5), waiting);
export const listsOf = ({ calls }: ApiServer): number =>
  calls.filter(({ verb }) => verb === "list").length;
