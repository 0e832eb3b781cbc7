// Names while one daemon takes the place of another, counted query by query.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startAsking } from "./asking.ts";
import { type DaemonProcess, TestMachine } from "./node-process.ts";
import { openSupervisor } from "./supervisor.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
const waiting = { timeout: 40_000, interval: 10 };
const configuration = `dns: { upstreams: ["127.0.0.1:5355"] }\n`;
const path = "/etc/fairlead/fairlead.yaml";

let machine: TestMachine;
beforeEach(async () => {
  machine = await TestMachine.open();
  for (const name of readdirSync(demo)) {
    const text = readFileSync(join(demo, name), "utf8");
    machine.write(`/etc/fairlead/cluster.d/${name}`, text);
  }
  machine.write(path, configuration);
});
afterEach(() => machine[Symbol.asyncDispose]());

const serving = (daemon: DaemonProcess): Promise<void> =>
  vi.waitFor(() => expect(daemon.log()).toContain("the daemon serves"), waiting);

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("fairlead daemon --replace", () => {
  test("M07 takes over under queries: none is lost, over UDP and TCP, of the cluster and outside", async () => {
    let running = machine.startDaemon();
    const logs = [running.log];
    await serving(running);
    await machine.ready();
    const asking = await startAsking(machine, 200);
    for (let turn = 0; turn < 3; turn++) {
      await pause(700);
      const next = machine.startDaemon(undefined, undefined, ["--replace"]);
      await serving(next);
      expect(await running.ended).toBe(0);
      expect(running.log()).toContain("another daemon answers names");
      running = next;
      logs.push(next.log);
      expect((await machine.ready()).problems).toEqual([]);
    }
    await pause(700);
    const figures = await asking.finish();
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    if (figures.lost.length > 0) process.stdout.write(logs.map((log) => log()).join("\n"));
    expect(figures.lost).toEqual([]);
    expect(figures.answered + figures.overloaded).toBe(figures.sent);
    expect(figures.sent).toBeGreaterThan(500);
  }, 120_000);

  test("a next one that fails before it answers leaves the first one as it was", async () => {
    const first = machine.startDaemon();
    await serving(first);
    const asking = await startAsking(machine, 200);
    machine.write(
      path,
      configuration.replace(
        "dns: {",
        `dns: { stubs: { corp.test: ["tls://127.0.0.1"] }, forward: { ca: /nowhere/ca.pem },`,
      ),
    );
    const failing = machine.startDaemon(undefined, undefined, ["--replace"]);
    expect(await failing.ended).toBe(1);
    expect(failing.log()).toContain("Cannot use /nowhere/ca.pem");
    const killed = machine.startDaemon(undefined, undefined, ["--replace"]);
    killed.kill("SIGKILL");
    await killed.ended;
    await pause(300);
    expect((await asking.finish()).lost).toEqual([]);
    expect(existsSync(`/proc/${first.pid}`)).toBe(true);
    await machine.ready();
  }, 120_000);

  test("without one to replace it is an ordinary start", async () => {
    const daemon = machine.startDaemon(undefined, undefined, ["--replace"]);
    await serving(daemon);
    expect((await machine.ready()).problems).toEqual([]);
  });
});

describe("a supervisor that keeps descriptors", () => {
  test("a restart loses no query: those that come meanwhile wait in the sockets", async () => {
    await using supervisor = openSupervisor(machine);
    const first = supervisor.start();
    await serving(first);
    await supervisor.stored();
    // All that one client asks while nobody reads has to fit into what the resolver takes of one at a time.
    const asking = await startAsking(machine, 25);
    await pause(500);
    first.kill("SIGTERM");
    expect(await first.ended).toBe(0);
    const second = supervisor.start();
    await serving(second);
    await machine.ready();
    await pause(300);
    const figures = await asking.finish();
    process.stdout.write(`restart: ${JSON.stringify(figures)}\n`);
    expect(figures.lost).toEqual([]);
    expect(figures.sent).toBeGreaterThan(20);
  }, 120_000);

  test("after a crash too, but for what the daemon had in its hands", async () => {
    await using supervisor = openSupervisor(machine);
    const first = supervisor.start();
    await serving(first);
    await supervisor.stored();
    const asking = await startAsking(machine, 25, "plain");
    await pause(500);
    first.kill("SIGKILL");
    await first.ended;
    const second = supervisor.start();
    await serving(second);
    await pause(300);
    const figures = await asking.finish();
    process.stdout.write(`crash: ${JSON.stringify(figures)}\n`);
    // One batch, and what went on to the thread behind it.
    expect(figures.sent - figures.answered).toBeLessThanOrEqual(64);
    expect(figures.answered).toBeGreaterThan(10);
  }, 120_000);
});

test("without a supervisor a crash is a gap as long as the next start, and nothing waits", async () => {
  const first = machine.startDaemon();
  await serving(first);
  const asking = await startAsking(machine, 25, "plain");
  await pause(500);
  first.kill("SIGKILL");
  await first.ended;
  const killedAtMs = performance.now();
  await serving(machine.startDaemon());
  const gapMs = performance.now() - killedAtMs;
  await pause(300);
  const figures = await asking.finish();
  process.stdout.write(
    `crash, no supervisor: ${Math.round(gapMs)} ms, ${JSON.stringify(figures)}\n`,
  );
  // Refused at once, or not: but after the start all are answered.
  expect(figures.answered).toBeGreaterThan(10);
}, 120_000);
