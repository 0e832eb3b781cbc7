// podman with its CNI backend, on two nodes with the overlay between them: `--network fairlead`.
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { imageName } from "./image.ts";
import {
  createRuntimeLab,
  fetchIn,
  killDaemon,
  removeForgotten,
  type RuntimeLab,
  startDaemonAgain,
  watchMachines,
} from "./machines.ts";
import { missingBackend, type Podman, setUpPodman } from "./podman.ts";

let lab: RuntimeLab;
let near: Podman;
let far: Podman;
let missing: string | undefined;
let watched: Awaited<ReturnType<typeof watchMachines>> | undefined;

beforeAll(async () => {
  lab = await createRuntimeLab();
  missing = await missingBackend(lab.machines[0]);
  if (missing !== undefined) return;
  near = await setUpPodman(lab.machines[0]);
  far = await setUpPodman(lab.machines[1]);
});
afterAll(() => lab[Symbol.asyncDispose]());

beforeEach(async ({ skip }) => {
  if (missing !== undefined) skip(missing);
  watched = await watchMachines(lab.machines);
});
afterEach(() => watched?.check());

// With what ping needs.
const onFairlead = ["--network", "fairlead", "--cap-add", "NET_RAW"] as const;

/** Starts a container; resolves with its address. */
async function start(on: Podman, name: string, ...command: string[]): Promise<string> {
  await on.output("run", "--detach", "--name", name, ...onFairlead, imageName, ...command);
  return addressOf(on, name);
}

const addressOf = async (on: Podman, name: string): Promise<string> => {
  const template = '{{(index .NetworkSettings.Networks "fairlead").IPAddress}}';
  return (await on.output("inspect", "--format", template, name)).trim();
};

/** Twice: the second one has nothing to do, or what the first could not. */
async function remove(on: Podman, ...names: string[]): Promise<void> {
  const words = ["rm", "--force", "--ignore", "--time", "0", ...names] as const;
  await on.run(...words);
  await on.output(...words);
}

const ping = async (on: Podman, from: string, to: string): Promise<number | undefined> =>
  (await on.run("exec", from, "ping", "-c", "1", "-W", "2", to)).status;

test("the network is there by name", async () => {
  expect(await near.output("network", "ls", "--format", "{{.Name}} {{.Driver}}")).toContain(
    "fairlead fairlead",
  );
  const [network] = JSON.parse(await near.output("network", "inspect", "fairlead")) as object[];
  expect(network).toMatchObject({ name: "fairlead", driver: "fairlead", internal: false });
});

test("containers on two nodes reach each other, and services by name", async () => {
  const web = await start(near, "web", "httpd", "-f", "-p", "8080", "-h", "/www");
  const db = await start(near, "db");
  const client = await start(far, "client");
  expect([web, db, client]).toEqual(["10.244.1.2", "10.244.1.3", "10.244.3.2"]);
  expect(await ping(far, "client", web)).toBe(0);
  expect(await ping(near, "web", client)).toBe(0);
  const url = `http://${web}:8080/`;
  expect(await far.output("exec", "client", "wget", "-qO-", url)).toBe("served by busybox");
  const resolvConf = await far.output("exec", "client", "cat", "/etc/resolv.conf");
  expect(resolvConf.split("\n").slice(0, 2)).toEqual([
    "search svc.cluster.local cluster.local fairlead.cluster.local",
    "nameserver 10.96.0.10",
  ]);
  expect(await far.output("exec", "client", "nslookup", "web.demo.svc.cluster.local")).toContain(
    "10.96.1.1",
  );
  expect(await far.output("exec", "client", "ping", "-c", "1", "db-0.db.demo")).toContain(db);
  await remove(near, "web", "db");
  await remove(far, "client");
});

test("containers find one another by their aliases", async () => {
  const words = ["run", "--detach", "--network", "fairlead:alias=store", "--name", "db", imageName];
  await near.output(...words);
  const address = await addressOf(near, "db");
  await start(near, "client");
  for (const name of ["store", "store.fairlead.cluster.local"]) {
    expect(await near.output("exec", "client", "ping", "-c", "1", name)).toContain(`(${address})`);
  }
  await remove(near, "db");
  expect(
    (await near.run("exec", "client", "nslookup", "store.fairlead.cluster.local")).status,
  ).toBe(1);
  await remove(near, "client");
});

test("a container that ends on its own leaves nothing", async () => {
  const command = ["run", "--rm", ...onFairlead, imageName, "ip", "-4", "-o", "address"];
  expect(await near.output(...command)).toContain("inet 10.244.1.");
});

test("stop and start attach anew; disconnect and connect as well", async () => {
  await start(near, "again");
  const peer = await start(far, "peer");
  await near.output("stop", "--time", "0", "again");
  await near.output("start", "again");
  expect(await ping(near, "again", peer)).toBe(0);
  await near.output("network", "disconnect", "fairlead", "again");
  expect(await ping(near, "again", peer)).not.toBe(0);
  await near.output("network", "connect", "fairlead", "again");
  expect(await ping(far, "peer", await addressOf(near, "again"))).toBe(0);
  await near.output("network", "reload", "again");
  expect(await ping(far, "peer", await addressOf(near, "again"))).toBe(0);
  await remove(near, "again");
  await remove(far, "peer");
});

test("an address of one's choice, and that address taken", async () => {
  const chosen = [...onFairlead, "--ip", "10.244.1.77", imageName] as const;
  await near.output("run", "--detach", "--name", "chosen", ...chosen);
  expect(await addressOf(near, "chosen")).toBe("10.244.1.77");
  const second = await near.run("run", "--name", "second", ...chosen);
  expect(second.status).not.toBe(0);
  expect(second.stderr).toContain("10.244.1.77");
  await remove(near, "chosen", "second");
});

test("a published port leads to the container, and ends with it", async () => {
  const [{ node }] = lab.machines;
  const serve = ["httpd", "-f", "-p", "8080", "-h", "/www"] as const;
  const command = ["run", "--detach", "--name", "web", "--publish", "18080:8080", ...onFairlead];
  await near.output(...command, imageName, ...serve);
  const url = "http://172.30.1.11:18080/";
  for (const member of [lab.outside, node]) {
    expect(await fetchIn(member, url)).toBe("served by busybox");
  }
  expect(await fetchIn(node, "http://127.0.0.1:18080/")).toBe("served by busybox");
  await remove(near, "web");
  await expect(fetchIn(lab.outside, url)).rejects.toThrow("fetch failed");
});

test("a MAC address of one's choice", async () => {
  const mac = "02:00:5e:10:00:01";
  const command = ["run", "--rm", "--mac-address", mac, ...onFairlead, imageName] as const;
  expect(await near.output(...command, "ip", "link", "show", "eth0")).toContain(mac);
});

test("containers come and go without the daemon", async () => {
  const [machine] = lab.machines;
  await start(near, "old");
  const peer = await start(far, "peer");
  await killDaemon(machine);
  await start(near, "alone");
  expect(await ping(near, "alone", peer)).toBe(0);
  await remove(near, "old");
  await startDaemonAgain(machine);
  expect(await ping(near, "alone", peer)).toBe(0);
  await remove(near, "alone");
  await remove(far, "peer");
});

test.each([60, 120, 180, 240])("podman run killed after %d ms: rm leaves nothing", async (ms) => {
  const [machine] = lab.machines;
  const command = ["podman", "run", "--name", "half", ...onFairlead, imageName];
  const podman = await machine.start("podman-run", command);
  await delay(ms);
  process.kill(podman.pid, "SIGKILL");
  await remove(near, "half");
  // Until the network is up, podman has not written down the sandbox it made.
  await removeForgotten(machine);
  await start(near, "half");
  await remove(near, "half");
});
