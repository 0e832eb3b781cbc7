// The thread that takes datagrams in batches, beside the one that has the responder.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { PodBook } from "../../dns/cluster/pod-book.ts";
import { ip } from "../support/builders.ts";
import { timeLived } from "../support/lived.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { haltingWorker } from "./halting-worker.ts";
import { aPod } from "./pods.ts";
import { exampleWorld, startUpstream } from "./scripted-upstream.ts";
import { ask, askUntil, ownAddress, startTestDns, testPort, testTarget } from "./test-server.ts";
import { judged, queryOctets, sendUdp } from "./wire-client.ts";

const web = "web.prod.svc.cluster.local";
// Both against hanging alone.
const patienceMs = 20_000;
const waiting = { timeout: 20_000, interval: 10 };

test("answers what it knows while the responder's thread is busy", async () => {
  await using halting = await haltingWorker();
  await using upstream = await startUpstream(exampleWorld);
  const { workerUrl } = halting;
  await using server = await startTestDns({ workerUrl, upstreams: [upstream.upstream] });
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const known = [
    [web, "A"],
    [web, "AAAA"],
    ["_http._tcp.web.prod.svc.cluster.local", "SRV"],
    ["nosuch.prod.svc.cluster.local", "A"],
    ["www.example.com", "A"],
  ] as const;
  // From the upstream, from the cache, and then from here.
  for (let i = 0; i < 3; i++) for (const [name, type] of known) await ask(name, type);
  const wanted = await Promise.all(known.map(([name, type]) => ask(name, type)));
  // What was counted is told within a moment.
  await delay(500);
  const before = server.counters();
  const halted = await halting.halt();
  for (const [i, [name, type]] of known.entries()) {
    const answer = await sendUdp(testTarget, queryOctets(name, type), patienceMs);
    expect(answer && judged(answer)).toMatchObject({
      rcode: wanted[i]!.rcode,
      answers: wanted[i]!.answers,
    });
  }
  // A name that nobody asked for before is missing all the same; one that is there has to wait.
  const missing = await sendUdp(
    testTarget,
    queryOctets("new.prod.svc.cluster.local", "A"),
    patienceMs,
  );
  expect(missing && judged(missing).rcode).toBe("NXDOMAIN");
  expect(await sendUdp(testTarget, queryOctets("api6.prod.svc.cluster.local", "A"), 300)).toBe(
    undefined,
  );
  // All of these were counted, and that one not yet.
  await vi.waitFor(() => {
    const { responses } = server.counters();
    for (const [rcode, more] of [
      ["NOERROR", 0],
      ["NXDOMAIN", 1],
    ] as const) {
      const count = more + wanted.filter((answer) => answer.rcode === rcode).length;
      expect(responses[rcode]! - before.responses[rcode]!).toBe(count);
    }
  }, waiting);
  halted[Symbol.dispose]();
  await askUntil("api6.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
});

test("answers a pod's walks while the responder's thread is busy", async () => {
  await using halting = await haltingWorker();
  await using upstream = await startUpstream(exampleWorld);
  const { workerUrl } = halting;
  const podBook = new PodBook();
  await podBook.announce(aPod("client", "127.0.0.1"));
  const upstreams = [upstream.upstream];
  await using server = await startTestDns({ workerUrl, upstreams, podBook });
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const known = ["api.example.com", "web.dev", "nosuch.example.com"].map(
    (front) => `${front}.prod.svc.cluster.local`,
  );
  // From the upstream, from the cache, and then from here.
  for (let i = 0; i < 3; i++) for (const name of known) await ask(name, "A");
  const wanted = await Promise.all(known.map((name) => ask(name, "A")));
  expect(wanted.map(({ answers }) => answers.length)).toEqual([2, 2, 0]);
  await delay(500);
  const { searchWalks } = server.counters();
  using _ = await halting.halt();
  for (const [i, name] of known.entries()) {
    const answer = await sendUdp(testTarget, queryOctets(name, "A"), patienceMs);
    const { rcode, answers } = wanted[i]!;
    expect(answer && judged(answer)).toMatchObject({ rcode, answers });
  }
  await vi.waitFor(() => expect(server.counters().searchWalks - searchWalks).toBe(2), waiting);
});

test("the thread that answers goes before the others of the process", async () => {
  await using server = await startTestDns();
  expect(server.listening()).toHaveLength(1);
  const nicenessOf = (comm: string): number[] =>
    readdirSync("/proc/self/task").flatMap((tid) => {
      const [, name, rest = ""] = /\((.*)\) (.*)/.exec(
        readFileSync(`/proc/self/task/${tid}/stat`, "utf8"),
      )!;
      // proc_pid_stat(5): the nineteenth field; the state, which is first here, is the third.
      return name === comm ? [Number(rest.split(" ")[16])] : [];
    });
  const [others = Number.NaN] = nicenessOf("fairlead-dns");
  expect(others).toBe(getPriority());
  // Linux keeps fifteen letters of a name.
  expect(nicenessOf("fairlead-dns-ud")).toEqual([Math.max(-20, others - 10)]);
});

test("the thread that answers goes before all others for a share of the time, where it may", async () => {
  // proc_pid_stat(5): the policy is the forty-first field, and the state, which is first here, the third.
  const policy = (): number => {
    const tid = readdirSync("/proc/self/task").find((task) =>
      readFileSync(`/proc/self/task/${task}/comm`, "utf8").startsWith("fairlead-dns-ud"),
    );
    const stat = readFileSync(`/proc/self/task/${tid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38]);
  };
  const other = 0;
  const mayBe = spawnSync("chrt", ["--fifo", "1", "true"]).status === 0;
  for (const [share, wanted] of [
    [0, other],
    [1, mayBe ? 1 : other],
  ] as const) {
    await using server = await startTestDns({ realtimeShare: share });
    server.publish(fixtureSnapshot());
    await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
    await expect.poll(policy).toBe(wanted);
  }
});

test("every address answers from itself, and stops with the others", async () => {
  const addresses = [ownAddress(1), ownAddress(2), ownAddress(3)];
  for (let round = 0; round < 2; round++) {
    await using server = await startTestDns({ addresses: addresses.map(ip) });
    server.publish(fixtureSnapshot());
    await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
    for (const address of addresses) {
      // Twice: from the responder's thread and from the other. The socket is connected: nobody else
      // can answer.
      for (let i = 0; i < 2; i++) {
        const answer = await sendUdp({ address, port: testPort }, queryOctets(web, "A"));
        expect(answer && judged(answer).answers).toEqual(["A 10.96.1.1"]);
      }
    }
  }
});

test("an idle resolver stops at once, though a thread is blocked", async () => {
  const server = await startTestDns();
  const [, elapsedMs] = await timeLived(() => server[Symbol.asyncDispose]());
  // Its own bound, after which the thread would be ended by force.
  expect(elapsedMs).toBeLessThan(2_000);
});

test("a process that exits without stopping it is not held up for ever", async () => {
  const program = `
    const { startTestDns } = await import(${JSON.stringify(new URL("test-server.ts", import.meta.url).href)});
    await startTestDns();
    process.stdout.write("up");
    setTimeout(() => process.exit(3), 100);`;
  const child = spawn(process.execPath, ["-"], { stdio: ["pipe", "ignore", "inherit"] });
  child.stdin.end(`import("node:module").then(async () => { ${program} });`);
  const late = setTimeout(() => child.kill("SIGKILL"), 25_000);
  const [code] = await once(child, "exit");
  clearTimeout(late);
  expect(code).toBe(3);
});

test("a query that no query needs to be is dropped, and counted", async () => {
  await using server = await startTestDns();
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const long = Buffer.concat([queryOctets(web, "A"), Buffer.alloc(5_000)]);
  expect(await sendUdp(testTarget, long, 300)).toBeUndefined();
  await vi.waitFor(() => expect(server.counters().dropped).toBe(1), waiting);
});
