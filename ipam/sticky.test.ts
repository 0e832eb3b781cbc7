// Pods that get their earlier addresses again, by name.
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Log, silentLog } from "../core/log.ts";
import { addressesOf, callIpam, noFacts, set } from "../test/ipam/ipam-call.ts";
import { type DataDir, createDataDir, key, never, ranges } from "../test/ipam/lease-directory.ts";
import { TestMachineClocks } from "../test/ipam/machine.ts";
import { ip } from "../test/support/builders.ts";
import type { Ipam, ReserveRequest } from "./ipam.ts";

let data: DataDir;
let machine: TestMachineClocks;
let warnings: string[];
beforeEach(() => {
  data = createDataDir();
  machine = new TestMachineClocks();
  warnings = [];
});
afterEach(() => data[Symbol.dispose]());

const log: Log = { ...silentLog, warn: (_fields, message) => warnings.push(message) };
const open = (): Ipam => data.open({ clock: machine, boot: machine, log });
const reserve = (id: string, name: string, more: Partial<ReserveRequest> = {}) =>
  open()
    .reserve(
      {
        key: key(id),
        ranges: ranges("10.1.2.0/28", "fd00::/64"),
        requestedIps: [],
        quarantineMs: 60_000,
        isSticky: true,
        pod: { namespace: "demo", name },
        ...more,
      },
      never,
    )
    .then((given) => given.map(({ address }) => address.address).join(" "));
const release = (id: string) => open().release(key(id), never);
const path = (): string => join(data.path, ".fairlead/sticky/mynet");

test("a pod gets its addresses again, out of quarantine and over a reboot", async () => {
  for (const name of ["web-0", "web-1", "web-2"]) await reserve(name, name);
  await release("web-1");
  expect(await reserve("again", "web-1")).toBe("10.1.2.3 fd00::3");
  await release("again");
  await release("web-0");
  machine.reboot("boot-2");
  expect(await reserve("later", "web-1")).toBe("10.1.2.3 fd00::3");
  expect(await reserve("other", "web-0", { pod: { namespace: "shop", name: "web-0" } })).toBe(
    "10.1.2.5 fd00::5",
  );
  expect(warnings).toEqual([]);
});

test("never at the cost of another pod, nor against what is asked for", async () => {
  await reserve("a", "web-0");
  await release("a");
  const taken = { requestedIps: [ip("10.1.2.2"), ip("fd00::2")] };
  expect(await reserve("b", "thief", taken)).toBe("10.1.2.2 fd00::2");
  expect(await reserve("c", "web-0")).toBe("10.1.2.3 fd00::3");
  await release("b");
  await release("c");
  // The last that it had counts.
  expect(await reserve("d", "web-0")).toBe("10.1.2.3 fd00::3");
  await release("d");
  expect(await reserve("e", "web-0", { requestedIps: [ip("10.1.2.9")] })).toBe("10.1.2.9 fd00::3");
});

test("not where it is not wanted", async () => {
  await reserve("a", "web-0", { isSticky: false });
  await release("a");
  expect(await reserve("b", "web-0")).toBe("10.1.2.3 fd00::3");
});

test("what cannot be kept costs a warning", async () => {
  mkdirSync(path(), { recursive: true });
  expect(await reserve("a", "web-0")).toBe("10.1.2.2 fd00::2");
  expect(warnings).toContain("cannot keep the addresses of pods");
});

test("garbage is passed over", async () => {
  mkdirSync(join(data.path, ".fairlead/sticky"), { recursive: true });
  writeFileSync(path(), "\0".repeat(300));
  await reserve("a", "web-0");
  await release("a");
  expect(await reserve("b", "web-0")).toBe("10.1.2.2 fd00::2");
});

test("the names are bounded, and so is the file", async () => {
  const ipam = open();
  const one = { ranges: ranges("10.1.0.0/16"), requestedIps: [], isSticky: true };
  for (let i = 0; i < 900; i++) {
    const pod = { namespace: "demo", name: `job-${i % 20}` };
    const requestedIps = [ip(`10.1.9.${(i % 200) + 1}`)];
    await ipam.reserve({ ...one, key: key("a"), pod, requestedIps }, never);
    await ipam.release(key("a"), never);
  }
  expect(statSync(path()).size).toBeLessThan(90 << 10);
  machine.pass(31 * 86_400_000);
  await reserve("b", "web-0");
  await release("b");
  expect(await reserve("c", "job-1")).toBe("10.1.2.3 fd00::3");
});

test("the configuration says so, and the runtime who the pod is", async () => {
  const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web-0";
  const ipam = { sticky: true, ranges: [set("10.1.2.0/24")] };
  const call = (container: string, command = "ADD") =>
    callIpam(data, { ipam, args, container, command, facts: noFacts });
  expect(addressesOf(await call("a"))).toEqual(["10.1.2.2/24"]);
  await call("a", "DEL");
  expect(addressesOf(await call("b"))).toEqual(["10.1.2.2/24"]);
  const wrong = await callIpam(data, { ipam: { ...ipam, sticky: "yes" } });
  expect(wrong).toMatchObject({ exitStatus: 1 });
  expect(wrong.stdout).toContain("ipam.sticky");
});
