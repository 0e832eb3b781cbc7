// fairlead-ipam under Debian's ptp and macvlan; bridge is in host-local.lab.test.ts.
//
//   ptp: node ── veth ── eth0 of a pod      macvlan: parent0 ┬ eth0 of a pod
//                                                            └ eth0 of another
import { afterEach, beforeEach, expect, test } from "vitest";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type DataDir, createDataDir } from "./lease-directory.ts";
import { type PluginDir, callPlugin, createPluginDir, referenceDir } from "./plugin-process.ts";

let stack: DisposableStack;
let plugins: PluginDir;
let data: DataDir;
let node: TestNamespace;
let pods: readonly TestNamespace[];
beforeEach(() => {
  stack = new DisposableStack();
  plugins = stack.use(createPluginDir());
  data = stack.use(createDataDir());
  node = stack.use(createNamespace());
  pods = [stack.use(createNamespace()), stack.use(createNamespace())];
  node.run("ip", "link", "add", "parent0", "type", "veth", "peer", "name", "parent1");
  for (const end of ["parent0", "parent1"]) node.run("ip", "link", "set", end, "up");
});
afterEach(() => stack.dispose());

interface Result {
  readonly ips: readonly { readonly address: string; readonly gateway: string }[];
}

async function call(conf: object, command: string, pod: TestNamespace, prevResult?: object) {
  const { status, stdout } = await callPlugin({
    plugin: `${referenceDir}/${(conf as { type: string }).type}`,
    command,
    conf: { ...conf, ...(prevResult && { prevResult }) },
    container: pod.name,
    netns: pod.path,
    cniPath: `${plugins.path}:${referenceDir}`,
    within: ["ip", "netns", "exec", node.name],
  });
  expect({ status, stdout: status === 0 ? "" : stdout }).toEqual({ status: 0, stdout: "" });
  return stdout;
}

const ipam = () => ({
  type: "fairlead-ipam",
  dataDir: data.path,
  ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:1:2::/64" }]],
});

test.each([
  ["ptp", {}, "10.1.2.1"],
  ["macvlan", { master: "parent0", mode: "bridge" }, "10.1.2.2"],
])("%s: ADD, CHECK, traffic, DEL twice", async (type, more, target) => {
  const conf = { cniVersion: "1.0.0", name: "mynet", type, ...more, ipam: ipam() };
  const results = [];
  for (const pod of pods) {
    const result = JSON.parse(await call(conf, "ADD", pod)) as Result;
    await call(conf, "CHECK", pod, result);
    results.push(result);
  }
  expect(results.map(({ ips }) => ips.map(({ address }) => address.replace(/\/\d+/, "")))).toEqual([
    ["10.1.2.2", "fd00:1:2::2"],
    ["10.1.2.3", "fd00:1:2::3"],
  ]);
  expect(pods[1]!.run("ping", "-c1", "-W2", target)).toContain(" 0% packet loss");
  for (const [index, pod] of pods.entries()) {
    await call(conf, "DEL", pod, results[index]);
    await call(conf, "DEL", pod);
    expect(pod.run("ip", "-o", "link")).not.toContain("eth0");
  }
  expect(data.addresses()).toEqual([]);
});
