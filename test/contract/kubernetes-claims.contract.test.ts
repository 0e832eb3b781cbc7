// Claims of blocks as Leases of the Kubernetes API; with FAIRLEAD_TEST_KUBECONFIG of a real one.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiClient } from "../../daemon/kubernetes/api-client.ts";
import { openKubernetesClaims } from "../../daemon/kubernetes/claim-store.ts";
import { readKubeconfig } from "../../daemon/kubernetes/kubeconfig.ts";
import { systemClock } from "../../kernel/clock.ts";
import { ApiServer } from "../support/api-server/server.ts";
import { describeClaimStore } from "../support/claim-store-contract.ts";

const kubeconfig = process.env["FAIRLEAD_TEST_KUBECONFIG"];
const resources = new AsyncDisposableStack();
const { signal } = new AbortController();
let client: ApiClient;
let networks = 0;
beforeAll(async () => {
  const server = kubeconfig === undefined ? resources.use(await ApiServer.start()) : undefined;
  const access =
    kubeconfig === undefined
      ? { where: "test", server: server!.url, isInsecure: false }
      : readKubeconfig(kubeconfig);
  client = resources.use(new ApiClient(access, systemClock));
});
afterAll(() => resources.disposeAsync());

describeClaimStore("Leases of Kubernetes", () => {
  const network = `test-${Date.now()}-${++networks}`;
  return {
    open: () =>
      openKubernetesClaims({ client, namespace: "default", network, ownerOf: () => undefined }),
  };
});

test("a claim that is written again as it is has another revision", async () => {
  const network = `test-${Date.now()}-again`;
  const ownerOf = () => undefined;
  const store = openKubernetesClaims({ client, namespace: "default", network, ownerOf });
  const revisions = new Set<string>();
  let result = await store.create("k", "same", signal);
  for (let round = 0; round < 3; round++) {
    expect(result.kind).toBe("written");
    const { revision } = (await store.get("k", signal))!;
    revisions.add(revision);
    result = await store.replace({ key: "k", value: "same", revision }, signal);
  }
  expect(revisions.size).toBe(3);
});

test("a claim goes with its node, and says whose it is", async () => {
  const network = `test-${Date.now()}-owned`;
  const ownerOf = (key: string) =>
    key === "division"
      ? undefined
      : { name: "node-a", uid: "00000000-0000-0000-0000-00000000000a" };
  const store = openKubernetesClaims({ client, namespace: "default", network, ownerOf });
  await store.create("blocks/fd00__-64", "v", signal);
  await store.create("division", "v", signal);
  const found = await client.ask(
    {
      path: "/apis/coordination.k8s.io/v1/namespaces/default/leases",
      query: { labelSelector: `fairlead.dev/network=${network}` },
    },
    signal,
  );
  expect(found).toMatchObject({
    items: [
      {
        metadata: {
          name: expect.stringMatching(/^fairlead-blocks-fd00--64-[0-9a-f]{16}$/),
          ownerReferences: [{ kind: "Node", name: "node-a" }],
        },
        spec: { holderIdentity: "node-a" },
      },
      { metadata: { name: expect.stringMatching(/^fairlead-division-/) } },
    ],
  });
  for (const { key, revision } of await store.list("", signal)) {
    await store.remove(key, revision, signal);
  }
});
