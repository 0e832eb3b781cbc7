// A reboot as a node has it: /run is empty and the boot's id another one, the leases are still there.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TestMachine } from "./node-process.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
const leases = "/var/lib/cni/networks/fairlead";
const lastBoot = "/var/lib/fairlead/boot-id";

let machine: TestMachine;
beforeEach(async () => {
  machine = await TestMachine.open();
  for (const name of readdirSync(demo)) {
    machine.write(`/etc/fairlead/cluster.d/${name}`, readFileSync(join(demo, name), "utf8"));
  }
  mkdirSync(machine.path(leases), { recursive: true });
  writeFileSync(machine.path(`${leases}/last_reserved_ip.0`), "10.244.1.254");
  for (let i = 2; i <= 254; i++) {
    writeFileSync(machine.path(`${leases}/10.244.1.${i}`), `old-${i}\r\neth0`);
  }
});
afterEach(() => machine[Symbol.asyncDispose]());

const held = (): number =>
  readdirSync(machine.path(leases)).filter((name) => name.startsWith("10.")).length;

test("rt-20: the leases of all pods that a reboot ended are free again", async () => {
  machine.write(lastBoot, "00000000-0000-0000-0000-000000000000\n");
  const daemon = machine.startDaemon();
  await machine.ready();
  expect(held()).toBe(0);
  expect(daemon.log()).toContain('"leases":253');
  expect(readdirSync(machine.path(leases)).sort()).toEqual(["last_reserved_ip.0", "lock"]);
  expect(readFileSync(machine.path(lastBoot), "utf8")).toBe(
    readFileSync("/proc/sys/kernel/random/boot_id", "utf8"),
  );
});

test("leases of another plugin, of before fairlead came, are kept", async () => {
  expect(existsSync(machine.path(lastBoot))).toBe(false);
  machine.startDaemon();
  await machine.ready();
  expect(held()).toBe(253);
});
