// A machine whose own resolv.conf names the address that the daemon answers on: nothing of the daemon waits
// for a name, and no question goes round in a circle.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TestMachine } from "./node-process.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
const address = "10.96.0.10";

test("the daemon does without its own resolver, and does not ask itself", async () => {
  await using machine = await TestMachine.open();
  for (const name of readdirSync(demo)) {
    const text = readFileSync(join(demo, name), "utf8");
    machine.write(`/etc/fairlead/cluster.d/${name}`, text);
  }
  machine.run("rm", "-f", "/etc/resolv.conf");
  machine.write("/etc/resolv.conf", `nameserver ${address}\n`);
  // As if it hung: what is asked of it is never answered.
  machine.run("ip", "route", "add", "local", address, "dev", "lo");
  machine.run("nft", "add", "table", "inet", "hanging");
  const chain = "{ type filter hook input priority -10; }";
  machine.run("nft", "add", "chain", "inet", "hanging", "input", chain);
  for (const protocol of ["udp", "tcp"]) {
    const rule = ["ip", "daddr", address, protocol, "dport", "53", "counter", "drop"];
    machine.run("nft", "add", "rule", "inet", "hanging", "input", ...rule);
  }
  const daemon = machine.startDaemon();
  const report = await machine.ready();
  expect(report.dns.upstreams).toEqual([]);
  expect(report.problems.map(({ message }) => message)).toContainEqual(
    expect.stringContaining(`Left out the upstream ${address} of /etc/resolv.conf`),
  );
  const dropped = machine.run("nft", "list", "table", "inet", "hanging");
  expect(dropped.match(/packets (\d+)/g)).toEqual(["packets 0", "packets 0"]);
  machine.run("nft", "delete", "table", "inet", "hanging");
  expect(machine.run("dig", "+tries=1", "outside.example", `@${address}`)).toContain(
    "status: REFUSED",
  );
  daemon.kill("SIGTERM");
  expect(await daemon.ended).toBe(0);
}, 120_000);
