// The cluster and the questions of the DNS tests: facts measured against CoreDNS 1.10 with its
// kubernetes plugin, and, where it departs from the RFCs, what the RFCs want (notes in cases.json).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { EndpointSlice, Namespace, Pod, Service } from "../../core/cluster/model.ts";
import type { Snapshot } from "../../core/cluster/model.ts";
import { aSnapshot } from "../support/builders.ts";

const directory = join(import.meta.dirname, "fixture");
const read = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), "utf8"));

export interface ClusterParts {
  readonly namespaces: readonly Namespace[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly pods: readonly Pod[];
}

export const clusterParts = read("cluster.json") as ClusterParts;

export const fixtureSnapshot = (more: { isInSync?: boolean; revision?: number } = {}): Snapshot =>
  aSnapshot({ ...clusterParts, ...more });

/** A question and its answer, in the words of cases.json. */
export interface DataCase {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly class: "IN" | "CH";
  readonly expect: {
    readonly rc: string;
    /** Any of these will do, and only addresses are looked for among the answers. */
    readonly any?: readonly string[];
    /** The rcode when pod names are verified. */
    readonly vrc?: string;
    readonly aa: 0 | 1 | null;
    readonly tc: 0 | 1;
    /** Answers, in any order unless `ord`; null: not looked at. */
    readonly an: readonly string[] | null;
    readonly ord?: 1;
    readonly ar: readonly string[];
    /** "SOA", "" for an empty section, null: not looked at. */
    readonly ns: string | null;
    readonly ttl?: number;
  };
  readonly note: string;
}

interface Situation {
  readonly id: string;
  readonly what: string;
  readonly expect: string;
}

export const cases = read("cases.json") as {
  readonly data: readonly DataCase[];
  readonly situations: readonly Situation[];
};
