// What the daemon's resolver knows of the pods that are attached through it.
import { join } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { compileLauncher } from "../../scripts/compile-launcher.ts";
import { TestMachine } from "./node-process.ts";

const waiting = { timeout: 30_000, interval: 20 };
const node = `apiVersion: v1
kind: Node
metadata: { name: node-a }
spec: { podCIDRs: [10.244.1.0/24] }
status: { addresses: [{ type: InternalIP, address: 172.30.1.11 }] }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Service
metadata: { name: carts, namespace: shop }
spec: { clusterIP: None }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: carts, namespace: shop, labels: { kubernetes.io/service-name: carts } }
addressType: IPv4
endpoints: [{ addresses: [10.244.1.77] }, { addresses: [10.9.9.9] }]
`;

let machine: TestMachine;
let directory: string;
beforeEach(async () => {
  machine = await TestMachine.open();
  machine.write("/etc/fairlead/cluster.d/all.yaml", node);
  directory = mkdtempSync(join(tmpdir(), "fairlead-pod-names-"));
  compileLauncher(join(directory, "fairlead"), []);
});
afterEach(async () => {
  await machine[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

/** Through the daemon, as the launcher does, or without it. */
function call(verb: "ADD" | "DEL", id: string, through: "daemon" | "plugin"): string {
  const conf = {
    cniVersion: "1.0.0",
    name: "fairlead",
    type: "fairlead",
    runtimeConfig: { aliases: [`${id}-alias`], ips: ["10.244.1.77"] },
  };
  const program =
    through === "daemon"
      ? join(directory, "fairlead")
      : `${process.execPath} ${join(import.meta.dirname, "../../plugin/main.ts")}`;
  const environment = [
    `CNI_COMMAND=${verb}`,
    `CNI_CONTAINERID=${id}`,
    `CNI_NETNS=/run/netns/${id}`,
    "CNI_IFNAME=eth0",
    "CNI_PATH=/nowhere",
    `CNI_ARGS='K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${id}'`,
  ].join(" ");
  return machine.run("sh", "-c", `echo '${JSON.stringify(conf)}' | ${environment} ${program}`);
}

const dig = (...words: readonly string[]): string[] =>
  machine
    .run("dig", "+short", "@10.96.0.10", ...words)
    .trim()
    .split("\n")
    .toSorted();
const dnsQuery = (...words: readonly string[]): string =>
  machine.run(
    process.execPath,
    join(import.meta.dirname, "../../cli/main.ts"),
    "dns",
    "query",
    ...words,
  );
const inPod = (id: string, ...words: readonly string[]): string =>
  machine.run("ip", "netns", "exec", id, ...words);

test("a pod is named after its ADD, walked for, and gone before the end of its DEL", async () => {
  machine.startDaemon();
  await machine.ready();
  const carts = "carts.shop.svc.cluster.local";
  expect(dig(carts)).toEqual(["10.244.1.77", "10.9.9.9"]);
  machine.run("ip", "netns", "add", "cart-0");
  const added = JSON.parse(call("ADD", "cart-0", "daemon")) as { dns: { search: string[] } };
  expect(added.dns.search.at(-1)).toBe("fairlead.cluster.local");
  for (const name of ["cart-0", "cart-0-alias"]) {
    expect(dig(`${name}.fairlead.cluster.local`)).toEqual(["10.244.1.77"]);
  }
  const asked = ["dig", "+short", "@10.96.0.10", "cart-0-alias.shop.svc.cluster.local"];
  expect(inPod("cart-0", ...asked)).toBe("cart-0-alias.fairlead.cluster.local.\n10.244.1.77\n");
  const explained = dnsQuery("cart-0-alias", "--from", "cart-0");
  expect(explained).toMatch(/^search list .* asks for cart-0-alias\.fairlead\.cluster\.local$/m);
  expect(explained).toMatch(/^network +cart-0-alias\.fairlead\.cluster\.local +NOERROR$/m);
  expect(explained).toContain("(pod shop/cart-0), first of its search list\n");
  expect(dnsQuery("x", "--from", "cart-1")).toBe(
    'fairlead: Cannot ask as "cart-1": no pod of this node has that name, there are shop/cart-0 (10.244.1.77)\n',
  );
  expect(call("DEL", "cart-0", "daemon")).toBe("");
  expect(dig("cart-0.fairlead.cluster.local")).toEqual([""]);
  expect(dig(carts)).toEqual(["10.9.9.9"]);
});

test("pods that the plugin attached by itself are known from the daemon's start on", async () => {
  const first = machine.startDaemon();
  await machine.ready();
  first.kill("SIGTERM");
  await first.ended;
  expect(dnsQuery("x")).toMatch(
    /^fairlead: The daemon's resolver is not running: nobody listens at/,
  );
  machine.run("ip", "netns", "add", "cart-0");
  expect(call("ADD", "cart-0", "plugin")).toContain("10.244.1.77");
  machine.startDaemon();
  await machine.ready();
  await vi.waitFor(
    () => expect(dig("cart-0-alias.fairlead.cluster.local")).toEqual(["10.244.1.77"]),
    waiting,
  );
  expect(call("DEL", "cart-0", "plugin")).toBe("");
  await vi.waitFor(() => expect(dig("cart-0.fairlead.cluster.local")).toEqual([""]), waiting);
});
