// The verbs that a delegated plugin sees, in the order of the requests that bring them.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import {
  type TestNode,
  aNetworkRequest,
  aRequest,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";

let node: TestNode;
beforeEach(() => {
  node = createNode(createFakeMachine());
  writeFileSync(
    join(node.directory, "test-ipam"),
    `#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME$CNI_NETNS$CNI_ARGS" >>${join(node.directory, "calls")}
[ "$CNI_COMMAND" != ADD ] || echo '${JSON.stringify(assigned)}'
[ ! -e ${join(node.directory, "fail-$CNI_COMMAND")} ] || { echo '{"code":111,"msg":"no"}'; exit 1; }
`,
    { mode: 0o755 },
  );
});
afterEach(() => node[Symbol.dispose]());

const assigned = {
  cniVersion: "1.0.0",
  ips: [{ address: "10.7.0.5/24", gateway: "10.7.0.1" }],
  routes: [{ dst: "10.0.0.0/8", gw: "10.7.0.1" }],
  dns: { nameservers: ["10.7.0.53"] },
};
const conf = { ipam: { type: "test-ipam", ranges: [], routes: [], requestedIps: [] } };
const environment = () => ({
  CNI_PATH: node.directory,
  CNI_CONTAINERID: "c1",
  CNI_IFNAME: "eth0",
});
const request = () => aRequest({ conf, environment: environment() });
const calls = (): string[] =>
  readFileSync(join(node.directory, "calls"), "utf8").trimEnd().split("\n");

test("an ADD does not wait for a writer of ipam.resolvConf that is a pipe, and holds nothing", async () => {
  const resolvConf = join(node.directory, "fifo");
  execFileSync("mkfifo", [resolvConf]);
  const { ipam } = aRequest().conf;
  const adding = node.handlers.add(aRequest({ conf: { ipam: { ...ipam, resolvConf } } }), forever);
  await expect(adding).rejects.toMatchObject({ code: CniCode.invalidConfig });
  expect(node.leftovers()).toEqual([]);
});

test("a delegated plugin gives addresses, routes and DNS, and is told each verb", async () => {
  const result = await node.handlers.add(request(), forever);
  expect(result.ips.map(({ address }) => address.address)).toEqual(["10.7.0.5"]);
  expect(result.routes).toEqual([
    { dst: { address: "10.0.0.0", prefixLength: 8 }, gw: "169.254.1.1" },
  ]);
  expect(result.dns).toEqual(assigned.dns);
  await node.handlers.check(
    { ...request(), conf: { ...request().conf, prevResult: result } },
    forever,
  );
  await node.handlers.status(aNetworkRequest(conf, environment()), forever);
  await node.handlers.del(request(), forever);
  expect(calls()).toEqual(["ADD c1 eth0", "CHECK c1 eth0", "STATUS c1 eth0", "DEL c1 eth0"]);
});

test("a repeated ADD of a whole attachment does not ask the plugin again", async () => {
  const first = await node.handlers.add(request(), forever);
  expect(await node.handlers.add(request(), forever)).toEqual(first);
  expect(calls()).toEqual(["ADD c1 eth0"]);
});

test("GC tells the plugin DEL for what is stale, then GC", async () => {
  await node.handlers.add(request(), forever);
  const network = { CNI_PATH: node.directory, CNI_NETNS: "/netns", CNI_ARGS: "A=B" };
  await node.handlers.gc(aNetworkRequest({ ...conf, validAttachments: [] }, network), forever);
  expect(calls()).toEqual(["ADD c1 eth0", "DEL c1 eth0", "GC  /netnsA=B"]);
  expect(node.leftovers()).toEqual([]);
});

test("a plugin's refusal keeps its code", async () => {
  writeFileSync(join(node.directory, "fail-STATUS"), "");
  await expect(
    node.handlers.status(aNetworkRequest(conf, environment()), forever),
  ).rejects.toMatchObject({ code: 111, message: "no" });
});

test("a plugin that gives no address is told DEL", async () => {
  writeFileSync(
    join(node.directory, "test-ipam"),
    `#!/bin/sh\necho "$CNI_COMMAND" >>${join(node.directory, "calls")}; echo '{"cniVersion":"1.0.0"}'\n`,
  );
  await expect(node.handlers.add(request(), forever)).rejects.toMatchObject({
    code: CniCode.internal,
    message: 'Cannot use the result of IPAM plugin "test-ipam": it has no address',
  });
  expect(calls()).toEqual(["ADD", "DEL"]);
  expect(node.leftovers()).toEqual([]);
});

test("addresses of our own are freed when the configuration has another plugin by now", async () => {
  await node.handlers.add(aRequest(), forever);
  await node.handlers.del(request(), forever);
  expect(await node.ipam.leases("fairlead")).toEqual([]);
  // It has nothing of this attachment, and may not even be there.
  expect(calls).toThrow("ENOENT");
});
