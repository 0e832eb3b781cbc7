import { expect, test } from "vitest";
import { formatHosts, formatPodManifest, formatResolvConf } from "./pod-text.ts";
import { parseManifest } from "../../daemon/source/manifest.ts";

test("formatResolvConf() writes what the result says, and nothing for nothing", () => {
  const dns = {
    nameservers: ["10.96.0.10"],
    search: ["demo.svc.cluster.local", "cluster.local"],
    options: ["ndots:5"],
  };
  expect(formatResolvConf({ ...dns, domain: "cluster.local" })).toBe(
    "nameserver 10.96.0.10\nsearch demo.svc.cluster.local cluster.local\noptions ndots:5\n",
  );
  expect(formatResolvConf({ nameservers: [], search: [], options: [], domain: "x" })).toBe(
    "domain x\n",
  );
  expect(formatResolvConf({ nameservers: [], search: [], options: [] })).toBe("");
});

test("formatHosts() names the pod by each address", () => {
  expect(formatHosts("web", ["10.244.1.2", "fd00::2"])).toBe(
    "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.244.1.2\tweb\nfd00::2\tweb\n",
  );
});

test("formatPodManifest() is a manifest that the daemon's source takes", () => {
  const pod = {
    namespace: "demo",
    name: "web",
    labels: { app: "web", yes: "no" },
    node: "node-a",
    addresses: ["10.244.1.2"],
  };
  const manifest = parseManifest(formatPodManifest(pod));
  if (manifest.kind !== "valid") throw new Error(JSON.stringify(manifest.problems));
  expect(manifest.objects.map(({ value }) => value)).toEqual([
    {
      kind: "Pod",
      object: {
        namespace: "demo",
        name: "web",
        ips: ["10.244.1.2"],
        nodeName: "node-a",
        isHostNetwork: false,
      },
    },
  ]);
});
