// A node where another DNS has rules for the service address, as kube-proxy has for CoreDNS: who answers
// while the daemon lives, dies, hangs, comes back and is replaced.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startAsking } from "./asking.ts";
import type { DaemonProcess, TestMachine } from "./node-process.ts";
import { all, OtherDns, ours, theirs } from "./other-dns.ts";

const waiting = { timeout: 40_000, interval: 50 };

let machine: TestMachine;
let other: OtherDns;

const openScene = async (family: 4 | 6): Promise<void> => {
  other = await OtherDns.open(family);
  ({ machine } = other);
};
afterEach(() => other[Symbol.asyncDispose]());

const serving = (daemon: DaemonProcess): Promise<void> =>
  vi.waitFor(() => expect(daemon.log()).toContain("the daemon serves"), waiting);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One thread of a process stands still until it is disposed; all others go on. */
async function holdThread(pid: number, name: string): Promise<AsyncDisposable> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-test-"));
  const program = join(directory, "hold-thread");
  const source = join(import.meta.dirname, "hold-thread.c");
  execFileSync("musl-gcc", ["-static", "-o", program, source]);
  const threads = readdirSync(`/proc/${pid}/task`).filter(
    (id) => readFileSync(`/proc/${pid}/task/${id}/comm`, "utf8").trim() === name,
  );
  expect(threads).toHaveLength(1);
  const holder = spawn(program, threads, { stdio: ["pipe", "pipe", "inherit"] });
  expect(String((await once(holder.stdout, "data"))[0])).toBe("held\n");
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = once(holder, "close");
      holder.stdin.end();
      await ended;
      rmSync(directory, { recursive: true });
    },
  };
}

describe.each([4, 6] as const)(
  "the daemon beside a DNS that has the service address, IPv%i",
  (family) => {
    beforeEach(() => openScene(family));

    test("answers while it lives; killed, the other does; started again, it does again", async () => {
      const first = machine.startDaemon();
      await other.answeredBy(ours);
      const before = other.asked;
      // Longer than the word of one moment lasts.
      for (const untilMs = performance.now() + 5_000; performance.now() < untilMs;) {
        expect(other.answers()).toEqual(all(ours));
      }
      expect(other.asked).toBe(before);
      expect((await machine.ready()).problems).toEqual([]);
      first.kill("SIGKILL");
      await first.ended;
      await other.answeredBy(theirs);
      machine.startDaemon();
      await other.answeredBy(ours);
    }, 180_000);

    test("that hangs leaves it to the other until it goes on", async () => {
      const daemon = machine.startDaemon();
      await other.answeredBy(ours);
      daemon.kill("SIGSTOP");
      await other.answeredBy(theirs);
      daemon.kill("SIGCONT");
      await other.answeredBy(ours);
    }, 180_000);

    test("that is stopped leaves it to the other before it goes", async () => {
      const daemon = machine.startDaemon();
      await serving(daemon);
      await other.answeredBy(ours);
      daemon.kill("SIGTERM");
      expect(await daemon.ended).toBe(0);
      expect(other.answers()).toEqual(all(theirs));
    }, 120_000);
  },
);

describe("the daemon beside a DNS that has the service address", () => {
  beforeEach(() => openScene(4));

  test("is replaced without a lost query, and without one for the other", async () => {
    let running = machine.startDaemon();
    await serving(running);
    await other.answeredBy(ours);
    const before = other.asked;
    // The scene's first questions: they are counted.
    expect(before).toBeGreaterThanOrEqual(4);
    const asking = await startAsking(machine, 100);
    for (let turn = 0; turn < 2; turn++) {
      await pause(700);
      const next = machine.startDaemon(undefined, undefined, ["--replace"]);
      await serving(next);
      expect(await running.ended).toBe(0);
      running = next;
    }
    // Longer than the word of the daemons before lasts.
    await pause(4_000);
    const figures = await asking.finish();
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect(figures.lost).toEqual([]);
    expect(figures.sent).toBeGreaterThan(400);
    expect(other.asked).toBe(before);
  }, 180_000);

  test("leaves it to the other for good where it is configured so", async () => {
    other.configure(", ahead: false");
    await serving(machine.startDaemon());
    await machine.ready();
    expect(other.answers()).toEqual(all(theirs));
    expect(machine.run("nft", "list", "table", "inet", "fairlead")).not.toContain("dns-ahead");
  }, 120_000);

  test("whose thread for datagrams hangs alone leaves it to the other until it goes on", async () => {
    const daemon = machine.startDaemon();
    await other.answeredBy(ours);
    expect((await machine.ready()).dns.ahead).toMatchObject({
      addresses: [ours],
      others: [{ service: "kube-system/kube-dns" }],
    });
    {
      await using _held = await holdThread(daemon.pid, "fairlead-dns-ud");
      await other.answeredBy(theirs);
      const { dns, problems } = await machine.status(
        (report) => report.dns.ahead?.addresses.length === 0 && report.problems.length > 0,
      );
      expect(dns.ahead?.problem).toContain("do not answer");
      expect(problems).toMatchObject([{ area: "dns" }]);
    }
    await other.answeredBy(ours);
    await machine.status(({ problems }) => problems.length === 0);
  }, 180_000);
});
