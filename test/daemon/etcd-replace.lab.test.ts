// One daemon in the place of another where the cluster is in etcd: only when etcd has taken it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { formatServiceFile } from "../../daemon/etcd/service-file.ts";
import { ip } from "../support/builders.ts";
import { startAsking } from "./asking.ts";
import { type DaemonProcess, TestMachine } from "./node-process.ts";

const waiting = { timeout: 40_000, interval: 20 };
const path = "/etc/fairlead/fairlead.yaml";
const configuration = `
nodeName: node-a
cluster: { source: etcd, etcd: { endpoints: ["http://127.0.0.1:2379"] } }
dns: { addresses: [10.96.0.10], upstreams: ["127.0.0.1:5355"] }
`;

let machine: TestMachine;
let endEtcd: () => Promise<void>;
beforeEach(async () => {
  machine = await TestMachine.open();
  const args = ["--data-dir=/run/etcd", "--log-level=error", "--unsafe-no-fsync"];
  const etcd = spawn("nsenter", [...machine.enter(), "etcd", ...args], { stdio: "ignore" });
  const ended = once(etcd, "close");
  endEtcd = async () => {
    etcd.kill("SIGKILL");
    await ended;
  };
  machine.write(path, configuration);
  const service = { namespace: "kube-system", name: "kube-dns", addresses: [ip("172.30.1.11")] };
  const ports = [{ protocol: "TCP" as const, port: 80 }];
  machine.write(
    "/var/lib/fairlead/services/kube-system.kube-dns.json",
    formatServiceFile({ ...service, ports }),
  );
});
afterEach(async () => {
  await endEtcd();
  await machine[Symbol.asyncDispose]();
});

const serving = (daemon: DaemonProcess): Promise<void> =>
  vi.waitFor(() => expect(daemon.log()).toContain("the daemon serves"), waiting);

/** Its service too is in etcd. */
async function startFirst(): Promise<DaemonProcess> {
  const first = machine.startDaemon();
  await serving(first);
  await machine.ready();
  const keys = ["etcdctl", "get", "--prefix", "--keys-only", "/fairlead/objects/Service/"];
  await vi.waitFor(
    () => expect(machine.run("env", "ETCDCTL_API=3", ...keys)).toContain("kube-dns"),
    waiting,
  );
  return first;
}

test("takes over under queries, and none is lost", async () => {
  const first = await startFirst();
  const asking = await startAsking(machine, 100, "plain");
  const next = machine.startDaemon(undefined, undefined, ["--replace"]);
  await serving(next);
  expect(await first.ended).toBe(0);
  expect((await machine.ready()).problems).toEqual([]);
  const figures = await asking.finish();
  expect(figures.lost).toEqual([]);
  expect(figures.sent).toBeGreaterThan(20);
}, 120_000);

test.each([
  ["an endpoint where no etcd is", ["2379", "2399"], "Cannot reach etcd at http://127.0.0.1:2399"],
  ["another prefix", ["endpoints", "prefix: /elsewhere, endpoints"], "Cannot find cluster"],
  ["another vni", ["dns:", "network: { vxlan: { vni: 7 } }\ndns:"], "whose vni is 1"],
])(
  "a next one with %s ends, and the first one stays as it was",
  async (_, [from, to], problem) => {
    const first = await startFirst();
    const asking = await startAsking(machine, 100, "plain");
    machine.write(path, configuration.replace(from!, to!));
    const next = machine.startDaemon(undefined, undefined, ["--replace"]);
    await vi.waitFor(() => expect(next.log()).toContain(problem), waiting);
    expect(await next.ended).toBe(1);
    const figures = await asking.finish();
    expect(figures.lost).toEqual([]);
    expect(figures.sent).toBeGreaterThan(0);
    expect(first.log()).not.toContain("another daemon answers names");
    await machine.ready();
  },
  120_000,
);
