// What the tests' API server does, and a real one does too: with FAIRLEAD_TEST_KUBECONFIG these run against
// the server of that kubeconfig (an administrator's, of a server that nobody else uses).
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiClient } from "../../daemon/kubernetes/api-client.ts";
import { ApiError } from "../../daemon/kubernetes/api-error.ts";
import { readKubeconfig } from "../../daemon/kubernetes/kubeconfig.ts";
import { LineSplitter } from "../../daemon/kubernetes/line-splitter.ts";
import { systemClock } from "../../kernel/clock.ts";
import { ApiServer } from "../support/api-server/server.ts";

interface Meta {
  readonly name: string;
  readonly resourceVersion: string;
  readonly uid: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}
interface Thing {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: Meta;
  readonly items: readonly Thing[];
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: { readonly conditions?: readonly Readonly<Record<string, unknown>>[] };
}

const kubeconfig = process.env["FAIRLEAD_TEST_KUBECONFIG"];
const { signal } = new AbortController();
const resources = new AsyncDisposableStack();
const mark = `t${Date.now()}`;
const maps = "/api/v1/namespaces/default/configmaps";
const labels = { suite: mark };
const labelSelector = `suite=${mark}`;
let client: ApiClient;

beforeAll(async () => {
  const server = kubeconfig === undefined ? resources.use(await ApiServer.start()) : undefined;
  const access =
    kubeconfig === undefined
      ? { where: "test", server: server!.url, isInsecure: false }
      : readKubeconfig(kubeconfig);
  client = resources.use(new ApiClient(access, systemClock));
});
afterAll(() => resources.disposeAsync());

type Request = Parameters<ApiClient["ask"]>[0];
const ask = async (request: Request): Promise<Thing> =>
  (await client.ask(request, signal)) as Thing;
const refusal = async (request: Request) => {
  try {
    await client.ask(request, signal);
  } catch (error) {
    if (error instanceof ApiError) return { code: error.code, reason: error.reason };
    throw error;
  }
  return "no refusal";
};
const mapOf = (name: string, more: object = {}): object => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: `${mark}-${name}`, labels },
  ...more,
});
const create = (name: string, more?: object): Promise<Thing> =>
  ask({ method: "POST", path: maps, body: mapOf(name, more) });
const at = (name: string): string => `${maps}/${mark}-${name}`;
const list = (query: Readonly<Record<string, string>>): Promise<Thing> =>
  ask({ path: maps, query: { labelSelector, ...query } });
const namesOf = ({ items }: Thing): readonly string[] =>
  items.map(({ metadata: { name } }) => name.slice(mark.length + 1));

/** The first events of a watch; it is then ended. */
async function watch(query: Readonly<Record<string, string>>, count: number, path = maps) {
  const all = { watch: "1", timeoutSeconds: "20", labelSelector, ...query };
  const response = await client.open({ path, query: all }, signal);
  const splitter = new LineSplitter();
  const events: { type: string; object: Thing & { code?: number; reason?: string } }[] = [];
  for await (const chunk of response) {
    for (const line of splitter.write(chunk as Buffer)) events.push(line as (typeof events)[0]);
    if (events.length >= count) break;
  }
  return events;
}

test("creates, finds, and refuses a second one of the name", async () => {
  const made = await create("a", { data: { x: "1" } });
  expect(made).toMatchObject({ kind: "ConfigMap", apiVersion: "v1", data: { x: "1" } });
  expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
  expect(await ask({ path: at("a") })).toEqual(made);
  expect(await refusal({ method: "POST", path: maps, body: mapOf("a") })).toEqual({
    code: 409,
    reason: "AlreadyExists",
  });
  expect(await refusal({ path: at("none") })).toEqual({ code: 404, reason: "NotFound" });
  expect(await refusal({ path: "/api/v1/nonsense" })).toMatchObject({ code: 404 });
});

test("updates only over the version that was seen", async () => {
  const made = await create("b");
  const next = await ask({ method: "PUT", path: at("b"), body: { ...made, data: { x: "2" } } });
  expect(next.metadata.resourceVersion).not.toBe(made.metadata.resourceVersion);
  const late = { method: "PUT", path: at("b"), body: { ...made, data: { x: "3" } } } as const;
  expect(await refusal(late)).toEqual({ code: 409, reason: "Conflict" });
  // Nothing is another: there is no new version.
  const same = await ask({ method: "PUT", path: at("b"), body: next });
  expect(same.metadata.resourceVersion).toBe(next.metadata.resourceVersion);
});

test("deletes only the version, or the object, that was meant", async () => {
  const made = await create("c");
  const body = (preconditions: object) => ({
    apiVersion: "v1",
    kind: "DeleteOptions",
    preconditions,
  });
  const remove = (preconditions: object) =>
    ({ method: "DELETE", path: at("c"), body: body(preconditions) }) as const;
  expect(await refusal(remove({ resourceVersion: "1" }))).toEqual({
    code: 409,
    reason: "Conflict",
  });
  expect(await refusal(remove({ uid: "other" }))).toEqual({ code: 409, reason: "Conflict" });
  const { resourceVersion, uid } = made.metadata;
  await ask(remove({ resourceVersion, uid }));
  expect(await refusal(remove({}))).toEqual({ code: 404, reason: "NotFound" });
});

test("merges patches, over a version where one is given", async () => {
  const made = await create("d", { data: { x: "1", y: "1" } });
  const patch = (body: object, contentType = "application/merge-patch+json") =>
    ({ method: "PATCH", path: at("d"), body, contentType }) as const;
  const next = await ask(patch({ data: { x: null, z: "1" } }));
  expect(next.data).toEqual({ y: "1", z: "1" });
  const { resourceVersion } = made.metadata;
  expect(await refusal(patch({ metadata: { resourceVersion }, data: {} }))).toEqual({
    code: 409,
    reason: "Conflict",
  });
  expect(await refusal(patch({}, "application/nonsense"))).toMatchObject({ code: 415 });
});

test("lists in chunks, of one version", async () => {
  for (const name of ["l1", "l2", "l3", "l4", "l5"]) {
    await create(name, { metadata: { name: `${mark}-${name}`, labels: { suite: `${mark}-l` } } });
  }
  const selector = { labelSelector: `suite=${mark}-l` };
  const first = await list({ ...selector, limit: "2" });
  expect(first.kind).toBe("ConfigMapList");
  expect(first.items[0]!.kind).toBeUndefined();
  expect(namesOf(first)).toEqual(["l1", "l2"]);
  await ask({ method: "DELETE", path: at("l3") });
  const second = await list({ ...selector, limit: "2", continue: first.metadata.continue! });
  expect(namesOf(second)).toEqual(["l3", "l4"]);
  expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  const third = await list({ ...selector, limit: "2", continue: second.metadata.continue! });
  expect(namesOf(third)).toEqual(["l5"]);
  expect(third.metadata.continue ?? "").toBe("");
});

test("lists what is not older than a version, and refuses one that is to come", async () => {
  const made = await create("e");
  const version = { resourceVersion: made.metadata.resourceVersion };
  const match = { ...version, resourceVersionMatch: "NotOlderThan", limit: "500" };
  expect(namesOf(await list(match))).toContain("e");
  const future = { path: maps, query: { resourceVersion: "99999999999", limit: "500" } };
  const notOlder = { ...future, query: { ...future.query, resourceVersionMatch: "NotOlderThan" } };
  expect(await refusal(notOlder)).toEqual({ code: 504, reason: "ResourceVersionTooLarge" });
  const nonsense = {
    path: maps,
    query: { resourceVersion: "x", resourceVersionMatch: "NotOlderThan" },
  };
  expect(await refusal(nonsense)).toMatchObject({ code: expect.toBeOneOf([400, 422]) });
});

test("selects by labels and fields", async () => {
  await create("f", { metadata: { name: `${mark}-f`, labels: { suite: mark, tier: "db" } } });
  await create("g", { metadata: { name: `${mark}-g`, labels: { suite: mark, tier: "web" } } });
  const by = async (selector: string) =>
    namesOf(await list({ labelSelector: `${labelSelector},${selector}` }));
  expect(await by("tier in (db, cache)")).toEqual(["f"]);
  expect(await by("tier,tier!=db")).toEqual(["g"]);
  expect(await by("tier notin (db)")).toContain("a");
  expect(await by("!tier")).not.toContain("f");
  expect(namesOf(await list({ fieldSelector: `metadata.name=${mark}-f` }))).toEqual(["f"]);
  const other = { path: maps, query: { fieldSelector: "data.x=1" } };
  expect(await refusal(other)).toEqual({ code: 400, reason: "BadRequest" });
});

test("watches from a version on, and a selection", async () => {
  const from = (await list({})).metadata.resourceVersion;
  const seen = watch({ resourceVersion: from, labelSelector: `w=${mark}` }, 4);
  const metadata = (value: string) => ({ metadata: { name: `${mark}-w`, labels: { w: value } } });
  await create("w", metadata(mark));
  const patch = (body: object): Request => ({
    method: "PATCH",
    path: at("w"),
    body,
    contentType: "application/merge-patch+json",
  });
  await ask(patch({ data: { x: "1" } }));
  const left = await ask(patch(metadata("other")));
  await ask(patch(metadata(mark)));
  const events = await seen;
  expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED", "ADDED"]);
  expect(events[0]!.object).toMatchObject({ kind: "ConfigMap", apiVersion: "v1" });
  // What left has the version of its leaving.
  expect(events[2]!.object.metadata.resourceVersion).toBe(left.metadata.resourceVersion);
});

test("starts a watch without a version with what there is", async () => {
  await create("v", { metadata: { name: `${mark}-v`, labels: { v: mark } } });
  for (const query of [{}, { resourceVersion: "0" }]) {
    const [event] = await watch({ ...query, labelSelector: `v=${mark}` }, 1);
    expect(event).toMatchObject({ type: "ADDED", object: { metadata: { name: `${mark}-v` } } });
  }
});

// A real server sends bookmarks about once a minute, to watches that last as long.
test("ends a watch in its time, with a bookmark where it has one", async () => {
  const from = (await list({})).metadata.resourceVersion;
  const query = { resourceVersion: from, timeoutSeconds: "3", allowWatchBookmarks: "true" };
  const events = await watch({ ...query, labelSelector: `nobody=${mark}` }, 9);
  expect(events.map(({ type }) => type)).toEqual(kubeconfig === undefined ? ["BOOKMARK"] : []);
  if (kubeconfig !== undefined) return;
  const { kind, metadata } = events[0]!.object;
  expect(kind).toBe("ConfigMap");
  expect(Number(metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(from));
});

test("gives a node its pod CIDRs once, and its status through a path of its own", async () => {
  const path = "/api/v1/nodes";
  const one = `${path}/${mark}`;
  const body = { apiVersion: "v1", kind: "Node", metadata: { name: mark } };
  await ask({ method: "POST", path, body });
  const patch = (to: string, change: object, kind = "strategic-merge") =>
    ({
      method: "PATCH",
      path: to,
      body: change,
      contentType: `application/${kind}-patch+json`,
    }) as const;
  const spec = (cidr: string) => ({ spec: { podCIDR: cidr, podCIDRs: [cidr] } });
  const given = await ask(patch(one, spec("10.244.9.0/24")));
  expect(given.spec).toMatchObject({ podCIDRs: ["10.244.9.0/24"] });
  expect(await refusal(patch(one, spec("10.244.8.0/24"), "merge"))).toEqual({
    code: 422,
    reason: "Invalid",
  });
  const condition = (type: string, status: string) => ({
    status: { conditions: [{ type, status, reason: "Test", message: "" }] },
  });
  await ask(patch(`${one}/status`, condition("Ready", "True")));
  await ask(patch(`${one}/status`, condition("NetworkUnavailable", "True")));
  await ask(patch(`${one}/status`, condition("NetworkUnavailable", "False")));
  await ask(patch(one, condition("Ready", "Unknown")));
  const { status } = await ask({ path: one });
  const found = status!.conditions!.map(({ type, status: value }) => [type, value]);
  expect(Object.fromEntries(found)).toEqual({ Ready: "True", NetworkUnavailable: "False" });
  await ask({ method: "DELETE", path: one });
});

test("removes what this suite made", async () => {
  const { items } = await ask({ path: maps });
  for (const { metadata } of items) {
    if (!metadata.name.startsWith(mark)) continue;
    await ask({ method: "DELETE", path: `${maps}/${metadata.name}` });
  }
  expect(await list({})).toMatchObject({ items: [] });
});
