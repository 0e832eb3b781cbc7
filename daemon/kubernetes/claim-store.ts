// Claims of blocks in the Kubernetes API: a Lease (coordination.k8s.io/v1) for each key. What it says is in
// annotations; its resourceVersion is the claim's revision, which etcd gives to one write of the whole
// cluster and never again.
import { createHash } from "node:crypto";
import * as v from "valibot";
import type { ClaimEntry, ClaimStore, WriteResult } from "../../ipam/claims/store.ts";
import type { ApiClient, ApiRequest } from "./api-client.ts";
import { ApiError } from "./api-error.ts";

export interface KubernetesClaimsOptions {
  readonly client: ApiClient;
  /** Where the Leases are. */
  readonly namespace: string;
  /** Of the claims, as a label: two networks of one cluster have claims of their own. */
  readonly network: string;
  /** The Node with which a claim goes: Kubernetes removes it with the Node. Undefined: with none. */
  readonly ownerOf: (key: string) => { readonly name: string; readonly uid: string } | undefined;
}

const keyAnnotation = "fairlead.dev/claim";
const valueAnnotation = "fairlead.dev/claim-value";
const networkLabel = "fairlead.dev/network";
/** A list is read in chunks: there is a claim for each block of the cluster. */
const chunkItems = 500;

const leaseSchema = v.object({
  metadata: v.object({
    resourceVersion: v.string(),
    annotations: v.object({ [keyAnnotation]: v.string(), [valueAnnotation]: v.string() }),
  }),
});
const listSchema = v.object({
  metadata: v.object({ continue: v.optional(v.string(), "") }),
  items: v.array(v.unknown()),
});

export const openKubernetesClaims = (options: KubernetesClaimsOptions): ClaimStore =>
  new KubernetesClaims(options);

class KubernetesClaims implements ClaimStore {
  readonly #options: KubernetesClaimsOptions;
  readonly #path: string;

  constructor(options: KubernetesClaimsOptions) {
    this.#options = options;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
  }

  async get(key: string, signal: AbortSignal): Promise<ClaimEntry | undefined> {
    const request = { path: this.#pathOf(key) };
    const found = await refusedAs(404, this.#options.client.ask(request, signal));
    return found === refused ? undefined : entryOf(found);
  }

  async list(prefix: string, signal: AbortSignal): Promise<readonly ClaimEntry[]> {
    const { client, network } = this.#options;
    const entries: ClaimEntry[] = [];
    let token = "";
    do {
      const query = {
        labelSelector: `${networkLabel}=${network}`,
        limit: String(chunkItems),
        ...(token !== "" && { continue: token }),
      };
      const found = v.parse(listSchema, await client.ask({ path: this.#path, query }, signal));
      for (const item of found.items) {
        const entry = entryOf(item);
        if (entry.key.startsWith(prefix)) entries.push(entry);
      }
      token = found.metadata.continue;
    } while (token !== "");
    return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  create(key: string, value: string, signal: AbortSignal): Promise<WriteResult> {
    const body = this.#leaseOf(key, value);
    // Another object may have the name: AlreadyExists is a conflict too.
    return this.#write({ method: "POST", path: this.#path, body }, signal);
  }

  replace({ key, value, revision }: ClaimEntry, signal: AbortSignal): Promise<WriteResult> {
    const { metadata, ...rest } = this.#leaseOf(key, value);
    const body = { ...rest, metadata: { ...metadata, resourceVersion: revision } };
    // Not a PUT: that makes a Lease that is absent.
    const contentType = "application/merge-patch+json";
    return this.#write({ method: "PATCH", path: this.#pathOf(key), body, contentType }, signal);
  }

  remove(key: string, revision: string, signal: AbortSignal): Promise<WriteResult> {
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: { resourceVersion: revision },
    };
    return this.#write({ method: "DELETE", path: this.#pathOf(key), body }, signal);
  }

  async #write(request: ApiRequest, signal: AbortSignal): Promise<WriteResult> {
    const { client } = this.#options;
    const done = await refusedAs(409, refusedAs(404, client.ask(request, signal)));
    if (done === refused) return { kind: "conflict" };
    if (request.method === "DELETE") return { kind: "written", revision: "" };
    return { kind: "written", revision: entryOf(done).revision };
  }

  #leaseOf(key: string, value: string) {
    const { network, namespace, ownerOf } = this.#options;
    const owner = ownerOf(key);
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: {
        name: nameOf(network, key),
        namespace,
        labels: { [networkLabel]: network },
        // Every write has a text of its own, or the API would see no change, and give no new version.
        annotations: {
          [keyAnnotation]: key,
          [valueAnnotation]: value,
          [writeAnnotation]: newText(),
        },
        ...(owner !== undefined && {
          ownerReferences: [{ apiVersion: "v1", kind: "Node", ...owner }],
        }),
      },
      spec: { ...(owner !== undefined && { holderIdentity: owner.name }) },
    };
  }

  #pathOf(key: string): string {
    return `${this.#path}/${nameOf(this.#options.network, key)}`;
  }
}

const writeAnnotation = "fairlead.dev/claim-write";
let writes = 0;
const newText = (): string => `${process.pid}-${performance.timeOrigin}-${++writes}`;

/** A name that Kubernetes takes, readable, and another for each key. */
function nameOf(network: string, key: string): string {
  const readable = key
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]+/g, "-")
    .replaceAll(/[.-]*\.[.-]*/g, ".");
  const hash = createHash("sha256").update(`${network}\n${key}`).digest("hex").slice(0, 16);
  return `fairlead-${readable.slice(0, 180).replace(/[.-]+$/, "")}-${hash}`;
}

function entryOf(lease: unknown): ClaimEntry {
  const { metadata } = v.parse(leaseSchema, lease);
  const { annotations, resourceVersion } = metadata;
  return {
    key: annotations[keyAnnotation],
    value: annotations[valueAnnotation],
    revision: resourceVersion,
  };
}

const refused = Symbol("refused");

/** What is answered, or `refused` where the API refuses with this code. */
async function refusedAs(code: number, answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.code === code) return refused;
    throw error;
  }
}
