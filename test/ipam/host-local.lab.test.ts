// Beside the reference: Debian's bridge plugin with our IPAM, and host-local and ours in one directory.
//
//   node namespace: mynet0 (bridge) ── veth ── eth0 in a pod namespace, 10.1.2.0/24 and fd00:1:2::/64
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CniCode } from "../../core/cni/error.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type DataDir, add, createDataDir, key, never, ranges } from "./lease-directory.ts";
import {
  type PluginAnswer,
  type PluginDir,
  callPlugin,
  createPluginDir,
  referenceDir,
} from "./plugin-process.ts";

let plugins: PluginDir;
let data: DataDir;
beforeAll(() => {
  plugins = createPluginDir();
  data = createDataDir();
});
afterAll(() => {
  plugins[Symbol.dispose]();
  data[Symbol.dispose]();
});

interface Result {
  readonly ips: readonly { readonly address: string; readonly gateway: string }[];
}
const resultOf = ({ status, stdout, stderr }: PluginAnswer): Result => {
  expect({ status, stderr, error: status === 0 ? "" : stdout }).toEqual({
    status: 0,
    stderr: "",
    error: "",
  });
  return JSON.parse(stdout) as Result;
};

describe("fairlead-ipam under the reference bridge plugin", () => {
  let node: TestNamespace;
  let pod: TestNamespace;
  beforeAll(() => {
    node = createNamespace();
    pod = createNamespace();
  });
  afterAll(() => {
    pod[Symbol.dispose]();
    node[Symbol.dispose]();
  });

  const conf = () => ({
    cniVersion: "1.0.0",
    name: "mynet",
    type: "bridge",
    bridge: "mynet0",
    isDefaultGateway: true,
    ipam: {
      type: "fairlead-ipam",
      dataDir: data.path,
      ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:1:2::/64" }]],
      // With its gateway: the reference's CHECK does not find a route without.
      routes: [{ dst: "192.168.0.0/16", gw: "10.1.2.1" }],
    },
  });
  const bridge = (command: string, more: object = {}) =>
    callPlugin({
      plugin: `${referenceDir}/bridge`,
      command,
      conf: { ...conf(), ...more },
      container: "dummy",
      netns: pod.path,
      cniPath: `${plugins.path}:${referenceDir}`,
      within: ["ip", "netns", "exec", node.name],
    });

  test("ADD, CHECK, DEL and DEL again", async () => {
    const result = resultOf(await bridge("ADD"));
    expect(result.ips).toMatchObject([
      { address: "10.1.2.2/24", gateway: "10.1.2.1" },
      { address: "fd00:1:2::2/64", gateway: "fd00:1:2::1" },
    ]);
    expect(data.files()).toEqual({
      "10.1.2.2": "dummy\r\neth0",
      "fd00:1:2::2": "dummy\r\neth0",
      "last_reserved_ip.0": "10.1.2.2",
      "last_reserved_ip.1": "fd00:1:2::2",
    });
    expect(pod.run("ping", "-c1", "-W2", "10.1.2.1")).toContain(" 0% packet loss");
    expect(pod.run("ip", "route", "show", "192.168.0.0/16")).toContain("via 10.1.2.1");
    const check = await bridge("CHECK", { prevResult: result });
    expect(check).toMatchObject({ status: 0, stdout: "" });
    expect(await bridge("DEL", { prevResult: result })).toMatchObject({ status: 0 });
    expect(await bridge("DEL")).toMatchObject({ status: 0 });
    expect(data.addresses()).toEqual([]);
  });

  test("a full range reaches the runtime with our message", async () => {
    const ipam = { ...conf().ipam, ranges: [[{ subnet: "10.1.3.0/30" }]] };
    await callOurs("ADD", "first", { ipam });
    const full = await bridge("ADD", { ipam });
    expect(full.status).not.toBe(0);
    expect(full.stdout).toContain("1 of 1 are held in 10.1.3.1-10.1.3.2 of 10.1.3.0/30");
    await callOurs("DEL", "first", { ipam });
    expect(data.addresses()).toEqual([]);
  });

  const callOurs = (command: string, container: string, more: object) =>
    callPlugin({
      plugin: `${plugins.path}/fairlead-ipam`,
      command,
      container,
      conf: { ...conf(), ...more },
    }).then((answer) => expect(answer).toMatchObject({ status: 0 }));
});

test("fairlead-ipam in the place of host-local keeps to its ranges", async () => {
  const call = (command: string, ipam: object, name = "mynet") =>
    callPlugin({
      plugin: `${plugins.path}/fairlead-ipam`,
      command,
      container: "stand-in",
      conf: {
        cniVersion: "1.0.0",
        name,
        type: "bridge",
        ipam: { type: "host-local", dataDir: data.path, ...ipam },
      },
    });
  const ipam = { subnet: "10.1.4.0/24", routes: [{ dst: "0.0.0.0/0" }] };
  const given = resultOf(await call("ADD", ipam));
  expect(given).toMatchObject({
    ips: [{ address: "10.1.4.2/24", gateway: "10.1.4.1" }],
    routes: [{ dst: "0.0.0.0/0" }],
  });
  expect(await call("DEL", ipam)).toMatchObject({ status: 0 });
  expect(data.addresses()).toEqual([]);
  const wrong = await call("ADD", { subnet: "10.1.4.1/24" });
  expect(wrong.status).toBe(1);
  expect(JSON.parse(wrong.stdout)).toMatchObject({ code: 7 });
});

describe("host-local and fairlead-ipam in one directory", () => {
  const network = "shared";
  type Kind = "go" | "ours";
  const conf = (kind: Kind) => ({
    cniVersion: "1.0.0",
    name: network,
    type: "bridge",
    ipam: {
      type: kind === "go" ? "host-local" : "fairlead-ipam",
      dataDir: data.path,
      ranges: [[{ subnet: "10.9.0.0/24" }], [{ subnet: "fd00:9::/64" }]],
    },
  });
  const both = ranges("10.9.0.0/24", "fd00:9::/64");
  const call = async (kind: Kind, command: string, container: string): Promise<PluginAnswer> => {
    const plugin = kind === "go" ? `${referenceDir}/host-local` : `${plugins.path}/fairlead-ipam`;
    for (;;) {
      const answer = await callPlugin({ plugin, command, container, conf: conf(kind) });
      // As a runtime does: where many wait for the lock, one may not have it in time.
      const { code } = JSON.parse(answer.stdout || "{}") as { readonly code?: number };
      if (code !== CniCode.tryAgainLater) return answer;
    }
  };
  // Against hanging alone.
  const inProcess = (): Ipam => data.open({ lockDeadlineMs: 60_000 });

  test("each answers the other's ADD, CHECK and DEL", async () => {
    const ipam = inProcess();
    expect(resultOf(await call("go", "ADD", "a")).ips[0]?.address).toBe("10.9.0.2/24");
    expect(await call("ours", "CHECK", "a")).toMatchObject({ status: 0 });
    // Repeated, ours gives what host-local gave.
    expect(await add(ipam, key("a", "eth0", network), { ranges: both })).toEqual([
      "10.9.0.2",
      "fd00:9::2",
    ]);
    expect(resultOf(await call("ours", "ADD", "b")).ips[0]?.address).toBe("10.9.0.3/24");
    expect(await call("go", "CHECK", "b")).toMatchObject({ status: 0 });
    expect(resultOf(await call("go", "ADD", "c")).ips[0]?.address).toBe("10.9.0.4/24");
    expect(await call("go", "DEL", "b")).toMatchObject({ status: 0 });
    expect(await ipam.release(key("c", "eth0", network), never)).toEqual(["10.9.0.4", "fd00:9::4"]);
    expect(await call("ours", "DEL", "a")).toMatchObject({ status: 0 });
    expect(data.addresses(network)).toEqual([]);
    // Round robin goes on where the other stopped.
    expect(resultOf(await call("ours", "ADD", "d")).ips[0]?.address).toBe("10.9.0.5/24");
    await call("go", "DEL", "d");
  });

  test("hl-alloc-42: 20 processes at once, and a store in this one, share no address", async () => {
    const kindOf = (i: number): Kind => (i % 2 === 0 ? "go" : "ours");
    const workers = [...Array(20).keys()];
    const ipam = inProcess();
    const done = new AbortController();
    const churn = (async () => {
      for (let turns = 0; !done.signal.aborted || turns < 20; turns++) {
        const attachment = key(`churn${turns}`, "eth0", network);
        const given = await add(ipam, attachment, { ranges: both });
        expect(await ipam.release(attachment, never)).toEqual(given);
        await new Promise(setImmediate);
      }
    })();
    const results = await Promise.all(workers.map((i) => call(kindOf(i), "ADD", `c${i}`)));
    const given = results.flatMap((answer) => resultOf(answer).ips.map(({ address }) => address));
    expect(new Set(given).size).toBe(40);
    const onDisk = await ipam.leases(network);
    const ofWorkers = onDisk.filter(({ containerId }) => containerId.startsWith("c"));
    expect(ofWorkers.filter(({ containerId }) => !containerId.startsWith("churn"))).toHaveLength(
      40,
    );
    // Each is released by the other kind.
    const freed = await Promise.all(workers.map((i) => call(kindOf(i + 1), "DEL", `c${i}`)));
    expect(freed.map(({ status }) => status)).toEqual(workers.map(() => 0));
    done.abort();
    await churn;
    expect(data.addresses(network)).toEqual([]);
  });
});
