// One session of a runtime with the plugin, good requests and bad ones, in order.
import { limits } from "../../core/cni/launcher-protocol.ts";
import { cniVersions } from "../../core/cni/types.ts";

/** What a request may refer to. */
export interface Session {
  /** CNI_NETNS of two pods. */
  readonly sandboxes: readonly [string, string];
  /** Standard output of the last ADD that succeeded. */
  readonly lastResult: string;
}

export interface TwinRequest {
  readonly title: string;
  readonly env: (session: Session) => Readonly<Record<string, string | undefined>>;
  readonly stdin: (session: Session) => string;
  /** Error code, or exit status 0. */
  readonly expected: number | "ok";
}

interface Given {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Which of the two sandboxes. */
  readonly pod?: 0 | 1;
  readonly conf?: object;
  /** With the last result as prevResult. */
  readonly hasResult?: boolean;
  readonly stdin?: string;
}

function request(
  title: string,
  command: string | undefined,
  expected: number | "ok",
  given: Given = {},
): TwinRequest {
  const { env, pod = 0, conf, hasResult = false, stdin } = given;
  return {
    title,
    expected,
    env: ({ sandboxes }) => ({
      CNI_COMMAND: command,
      CNI_CONTAINERID: "a51debf7e1eb",
      CNI_NETNS: sandboxes[pod],
      CNI_IFNAME: "eth0",
      CNI_PATH: "/usr/lib/cni",
      ...env,
    }),
    stdin: ({ lastResult }) =>
      stdin ??
      JSON.stringify({
        cniVersion: "1.1.0",
        name: "fairlead",
        type: "fairlead",
        ...(hasResult ? { prevResult: JSON.parse(lastResult) as unknown } : {}),
        ...conf,
      }),
  };
}

const second = { CNI_CONTAINERID: "b51debf7e1eb" };
const third = { CNI_CONTAINERID: "c51debf7e1eb", CNI_IFNAME: "net1" };
const k8s = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=9a3b";
// Debian's plugins do not know 1.1.0.
const staticIpam = {
  cniVersion: "1.0.0",
  ipam: { type: "static", addresses: [{ address: "10.9.0.7/24" }] },
};
const smallRange = { name: "other", ipam: { subnet: "10.9.1.0/30" } };
const attachments = "cni.dev/valid-attachments";

const life: readonly TwinRequest[] = [
  request("STATUS of an idle node", "STATUS", "ok"),
  request("CHECK before any ADD", "CHECK", 7),
  request("DEL before any ADD", "DEL", "ok"),
  request("ADD", "ADD", "ok", { env: { CNI_ARGS: k8s } }),
  request("ADD again", "ADD", "ok", { env: { CNI_ARGS: k8s } }),
  request("CHECK", "CHECK", "ok", { hasResult: true }),
  request("CHECK without a result", "CHECK", 7),
  request("CHECK with another result", "CHECK", 102, {
    conf: { prevResult: { cniVersion: "1.0.0", ips: [{ address: "10.9.9.9/24" }] } },
  }),
  request("ADD of a second interface", "ADD", "ok", { env: { CNI_IFNAME: "net9" } }),
  request("ADD of a name that is taken", "ADD", 101, { env: second }),
  request("ADD in the other pod", "ADD", "ok", { pod: 1, env: second }),
  request("STATUS of a busy node", "STATUS", "ok"),
  request("DEL of the second interface", "DEL", "ok", { env: { CNI_IFNAME: "net9" } }),
  request("GC without a list", "GC", "ok"),
  request("GC with a broken list", "GC", 7, { conf: { [attachments]: "none" } }),
  request("GC with a list of both", "GC", "ok", {
    conf: {
      [attachments]: [
        { containerID: "a51debf7e1eb", ifname: "eth0" },
        { containerID: second.CNI_CONTAINERID, ifname: "eth0" },
      ],
    },
  }),
  request("ADD once more: nothing was lost", "ADD", "ok", { env: { CNI_ARGS: k8s } }),
  request("GC with a list of one, under the old key", "GC", "ok", {
    conf: { "cni.dev/attachments": [{ containerID: "a51debf7e1eb", ifname: "eth0" }] },
  }),
  request("CHECK of what GC removed", "CHECK", 102, { pod: 1, env: second, hasResult: true }),
  request("DEL without a sandbox", "DEL", "ok", { env: { CNI_NETNS: "" } }),
  request("DEL again", "DEL", "ok", { env: { CNI_NETNS: "" } }),
];

const versions: readonly TwinRequest[] = cniVersions.flatMap((cniVersion) => [
  request(`ADD in ${cniVersion}`, "ADD", "ok", { env: third, conf: { cniVersion } }),
  request(`DEL in ${cniVersion}`, "DEL", "ok", { env: third, conf: { cniVersion } }),
]);

const addressing: readonly TwinRequest[] = [
  request("ADD with an address of choice", "ADD", "ok", {
    conf: { runtimeConfig: { IPs: ["10.244.1.99"] } },
  }),
  request("DEL of it", "DEL", "ok"),
  request("ADD with an address of elsewhere", "ADD", 7, {
    conf: { runtimeConfig: { ips: ["10.99.0.1"] } },
  }),
  request("ADD with an address that is none", "ADD", 4, { env: { CNI_ARGS: "IP=nowhere" } }),
  request("ADD to another network", "ADD", 7, { conf: { name: "other" } }),
  request("ADD to another network with a range", "ADD", "ok", { conf: smallRange }),
  request("ADD to a range that is full", "ADD", 100, { pod: 1, env: second, conf: smallRange }),
  request("STATUS of a range that is full", "STATUS", 50, { conf: smallRange }),
  request("DEL of the address of the range", "DEL", "ok", { conf: smallRange }),
  request("ADD with a range that is none", "ADD", 7, {
    conf: { ipam: { ranges: [[{ subnet: "10.9.1.1/24" }]] } },
  }),
  request("ADD with another's IPAM", "ADD", "ok", { conf: staticIpam }),
  request("DEL with another's IPAM", "DEL", "ok", { conf: staticIpam }),
  request("CHECK with another's IPAM, of nothing", "CHECK", 7, { conf: staticIpam }),
  request("GC with another's IPAM, which knows no GC", "GC", "ok", {
    conf: { ipam: staticIpam.ipam, [attachments]: null },
  }),
];

const limit = { IngressRate: 1_000_000, IngressBurst: 2 ** 32 - 1, EgressRate: 0, EgressBurst: 0 };
const before = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "lo", sandbox: "/run/netns/x" }],
  ips: [{ address: "127.0.0.1/8", interface: 0 }],
};

const chained: readonly TwinRequest[] = [
  request("ADD with a limit (rt-02)", "ADD", "ok", {
    conf: { runtimeConfig: { bandwidth: limit } },
  }),
  request("ADD without it, again", "ADD", "ok"),
  request("DEL of what was limited", "DEL", "ok", { conf: { ingressRate: -1 } }),
  request("ADD with half a limit (bw-07)", "ADD", 7, { conf: { egressRate: 1, egressBurst: 0 } }),
  request("ADD with a limit below zero (bw-16)", "ADD", 7, { conf: { egressRate: -8 } }),
  request("ADD after another plugin", "ADD", "ok", { conf: { prevResult: before } }),
  request("CHECK of the result of both", "CHECK", "ok", { hasResult: true }),
  request("DEL with the result of both", "DEL", "ok", { hasResult: true }),
  request("ADD with addresses of dhcp, which is older", "ADD", 1, {
    conf: { ipam: { type: "dhcp" } },
  }),
  request("DEL with addresses of dhcp, which is older", "DEL", "ok", {
    conf: { ipam: { type: "dhcp" } },
  }),
];

const environments: readonly TwinRequest[] = [
  request("no verb", undefined, "ok"),
  request("an unknown verb", "NOPE", 4),
  request("an unknown verb, bad input", "NOPE", 6, { stdin: "{" }),
  request("a verb in lower case", "add", 4),
  request("no container id", "ADD", 4, { env: { CNI_CONTAINERID: "" } }),
  request("a bad container id", "DEL", 4, { env: { CNI_CONTAINERID: "../x" } }),
  request("a bad interface name", "ADD", 4, { env: { CNI_IFNAME: "a/b" } }),
  request("a long interface name", "ADD", 4, { env: { CNI_IFNAME: "é".repeat(8) } }),
  request("nothing but a verb", "ADD", 4, {
    env: { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "", CNI_PATH: "" },
  }),
  request("no sandbox", "ADD", 4, { env: { CNI_NETNS: "" } }),
  request("a sandbox that does not exist", "ADD", 4, { env: { CNI_NETNS: "/run/netns/none" } }),
  request("DEL in a sandbox that does not exist", "DEL", "ok", {
    env: { CNI_NETNS: "/run/netns/none" },
  }),
  request("a sandbox that is a file", "ADD", 4, { env: { CNI_NETNS: "/etc/passwd" } }),
  request("a sandbox that is a directory", "ADD", 4, { env: { CNI_NETNS: "/etc" } }),
  request("a sandbox that is of another kind", "ADD", 4, { env: { CNI_NETNS: "/proc/1/ns/uts" } }),
  request("the node's own namespace", "ADD", 8, { env: { CNI_NETNS: "/proc/self/ns/net" } }),
  request("arguments that are none", "ADD", 4, { env: { CNI_ARGS: "IgnoreUnknown=maybe" } }),
  request("DEL with arguments that are none", "DEL", "ok", {
    env: { CNI_ARGS: "IgnoreUnknown=maybe" },
  }),
];

const inputs: readonly TwinRequest[] = [
  request("no input", "ADD", 6, { stdin: "" }),
  request("half an object", "ADD", 6, { stdin: '{"name":' }),
  request("a list", "ADD", 6, { stdin: "[]" }),
  request("garbage at the end", "ADD", 6, { stdin: '{"name":"fairlead"} x' }),
  request("too much", "ADD", 5, { stdin: " ".repeat(limits.stdin + 1) }),
  request("as much as may be", "STATUS", "ok", {
    stdin: '{"cniVersion":"1.1.0","name":"fairlead"}'.padEnd(limits.stdin),
  }),
  request("no name", "ADD", 7, { conf: { name: undefined } }),
  request("a bad name", "GC", 7, { conf: { name: "te%%st" } }),
  request("a name that is a number", "ADD", 6, { conf: { name: 5 } }),
  request("a version that is a number", "ADD", 6, { conf: { cniVersion: 5 } }),
  request("an unknown version", "ADD", 1, { conf: { cniVersion: "9.9.9" } }),
  request("a version that is none", "CHECK", 6, { conf: { cniVersion: "x" } }),
  request("CHECK in a version without it", "CHECK", 1, { conf: { cniVersion: "0.3.1" } }),
  request("GC in a version without it", "GC", 1, { conf: { cniVersion: "1.0.0" } }),
  request("STATUS in a version without it", "STATUS", 1, { conf: { cniVersion: "1.0.0" } }),
  request("a bad MTU", "ADD", 7, { conf: { mtu: "big" } }),
  request("DEL with a bad MTU", "DEL", "ok", { conf: { mtu: "big" } }),
  request("a result of another age", "CHECK", 7, {
    conf: { prevResult: { cniVersion: "0.2.0" } },
  }),
  request("letters beyond ASCII", "ADD", 7, { conf: { mtu: "größe\u{1f6a2}" } }),
  request("VERSION", "VERSION", "ok", { stdin: '{"cniVersion":"0.4.0"}' }),
  request("VERSION without input", "VERSION", "ok", { stdin: "" }),
  request("VERSION with dummies", "VERSION", "ok", {
    env: { CNI_NETNS: "dummy", CNI_IFNAME: "dummy", CNI_PATH: "dummy" },
  }),
];

export const twinRequests: readonly TwinRequest[] = [
  ...life,
  ...versions,
  ...addressing,
  ...chained,
  ...environments,
  ...inputs,
  request("GC with a list of none", "GC", "ok", { conf: { [attachments]: null } }),
];
