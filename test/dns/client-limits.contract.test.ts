// One client that asks too much, and another one, against the real sockets.
import { createSocket, type Socket } from "node:dgram";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { listenTcp } from "../../dns/listen/tcp-listener.ts";
import { SharedCounters } from "../../dns/observe/counters.ts";
import type { DnsServer } from "../../dns/server.ts";
import { ip } from "../support/builders.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { haltingWorker } from "./halting-worker.ts";
import { a, reply, type ScriptedUpstream, startUpstream } from "./scripted-upstream.ts";
import { askUntil, ownAddress, startTestDns, testPort, testTarget } from "./test-server.ts";
import { framed, judged, type Judged, queryOctets, sendTcp } from "./wire-client.ts";

const web = "web.prod.svc.cluster.local";
const waitMs = 30_000;
const stack: AsyncDisposableStack[] = [];
afterEach(async () => {
  for (const one of stack.splice(0)) await one.disposeAsync();
});

interface Client {
  readonly send: (name: string) => void;
  readonly answers: Judged[];
  /** Resolves with the answers when they are as wanted. */
  readonly until: (isWanted: (answers: readonly Judged[]) => boolean) => Promise<readonly Judged[]>;
}

async function clientAt(n: number, held: AsyncDisposableStack): Promise<Client> {
  const socket: Socket = createSocket("udp4");
  held.defer(() => void socket.close());
  await new Promise<void>((bound) => socket.bind({ address: ownAddress(n), port: 0 }, bound));
  const answers: Judged[] = [];
  socket.on("message", (octets) => void answers.push(judged(octets)));
  return {
    answers,
    send: (name) => socket.send(queryOctets(name, "A"), testPort, testTarget.address),
    until: async (isWanted) => {
      const deadlineMs = performance.now() + waitMs;
      while (!isWanted(answers)) {
        if (performance.now() > deadlineMs) throw new Error(JSON.stringify(answers));
        await delay(10);
      }
      return answers;
    },
  };
}

async function scene(
  limits: Parameters<typeof startTestDns>[0],
): Promise<{ flooder: Client; other: Client; server: DnsServer; upstream: ScriptedUpstream }> {
  const held = new AsyncDisposableStack();
  stack.push(held);
  // Names that begin with "slow" are never answered.
  const upstream = held.use(
    await startUpstream(({ query, name }) =>
      name.startsWith("slow") ? [] : [reply(query, { answers: [a(name, "192.0.2.1")] })],
    ),
  );
  const server = held.use(await startTestDns({ upstreams: [upstream.upstream], ...limits }));
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const [flooder, other] = [await clientAt(11, held), await clientAt(12, held)];
  return { flooder, other, server, upstream };
}

test("questions that wait for upstreams: more than its share is SERVFAIL at once, for nobody else", async () => {
  const limits = { queriesPerSecond: 0, pending: 5 };
  const { flooder, other, upstream } = await scene({ limits });
  for (let i = 0; i < 30; i++) flooder.send(`slow${i}.example`);
  const refused = await flooder.until((answers) => answers.length >= 25);
  expect(new Set(refused.map(({ rcode }) => rcode))).toEqual(new Set(["SERVFAIL"]));
  expect(new Set(upstream.asked.map(({ name }) => name)).size).toBeLessThanOrEqual(5);
  other.send("fast.example");
  other.send(web);
  const answers = await other.until(({ length }) => length === 2);
  expect(answers.map(({ rcode }) => rcode)).toEqual(["NOERROR", "NOERROR"]);
  // Names of the cluster wait for nobody.
  flooder.send(web);
  await flooder.until((found) => found.some(({ answers }) => answers.includes("A 10.96.1.1")));
});

test.each(["plain", "batched"] as const)(
  "datagrams a second, %s: above its rate a client is sent to TCP, and another one is answered",
  async (udp) => {
    const limits = { queriesPerSecond: 10, pending: 256 };
    const { flooder, other, server } = await scene({ limits, udp });
    const before = server.counters();
    for (let i = 0; i < 400; i++) flooder.send(web);
    const found = await flooder.until((answers) => answers.some(({ isTruncated }) => isTruncated));
    for (const { isTruncated, answers } of found) {
      expect(answers).toEqual(isTruncated ? [] : ["A 10.96.1.1"]);
    }
    other.send(web);
    expect(await other.until(({ length }) => length === 1)).toMatchObject([{ rcode: "NOERROR" }]);
    // A thread tells what it has counted after what it has answered.
    await vi.waitFor(
      () => {
        const after = server.counters();
        expect(after.queries.udp - before.queries.udp).toBeGreaterThan(10);
        expect(after.limited).toBeGreaterThan(0);
      },
      { timeout: 10_000 },
    );
  },
);

test("queries that wait for the responder: those of many that flood leave room for another's", async () => {
  await using halting = await haltingWorker();
  const { workerUrl } = halting;
  const limits = { queriesPerSecond: 0, pending: 256 };
  const { other, server } = await scene({ limits, workerUrl });
  await using held = new AsyncDisposableStack();
  const before = server.counters();
  const halted = await halting.halt();
  for (let n = 21; n <= 32; n++) {
    const flooder = await clientAt(n, held);
    for (let i = 0; i < 1_100; i++) {
      flooder.send(`slow${n}-${i}.example`);
      // The socket's buffer is not what is measured.
      if (i % 50 === 49) await delay(1);
    }
  }
  other.send("api6.prod.svc.cluster.local");
  halted[Symbol.dispose]();
  expect(await other.until(({ length }) => length === 1)).toMatchObject([{ rcode: "NOERROR" }]);
  // It was more than there is room for.
  await vi.waitFor(() => expect(server.counters().dropped).toBeGreaterThan(before.dropped), {
    timeout: 10_000,
  });
}, 60_000);

test("clients that keep all connections busy that they can get leave one for another", async () => {
  const target = { address: ownAddress(3), port: testPort };
  await using held = new AsyncDisposableStack();
  held.use(
    await listenTcp({
      address: ip(target.address),
      port: target.port,
      respond: (packet) => (String(packet) === "wait" ? new Promise(() => {}) : packet),
      isAllowed: () => true,
      counters: new SharedCounters(),
      limits: { maxConnectionsPerClient: 8, maxConnections: 20 },
    }),
  );
  for (let n = 0; n < 60; n++) {
    const localAddress = ownAddress(40 + (n % 6));
    const socket = connect({ host: target.address, port: target.port, localAddress });
    socket.on("error", () => {});
    held.defer(() => void socket.destroy());
    socket.write(framed(Buffer.from("wait")));
    // One that is turned away may have written too early, which is an error first.
    const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
    await Promise.race([closed, delay(20)]);
  }
  const modest = await sendTcp(target, [framed(Buffer.from("hello"))]);
  expect(modest.answers.map(String)).toEqual(["hello"]);
});

test("a client that reads no answers gets no more of them than its connection holds, until it does", async () => {
  const target = { address: ownAddress(3), port: testPort };
  const [count, octets] = [1_000, 60_000];
  let answered = 0;
  await using _listener = await listenTcp({
    address: ip(target.address),
    port: target.port,
    respond: () => {
      answered++;
      return new Uint8Array(octets);
    },
    isAllowed: () => true,
    counters: new SharedCounters(),
  });
  const socket = connect({ host: target.address, port: target.port });
  socket.pause();
  socket.write(framed(...Array.from({ length: count }, () => Buffer.from("query"))));
  await vi.waitFor(() => expect(answered).toBeGreaterThan(0), { timeout: 10_000 });
  await delay(500);
  // What the kernel keeps for both ends is a few megabytes.
  expect(answered).toBeLessThan(count / 2);
  let received = 0;
  socket.on("data", (chunk: Buffer) => (received += chunk.length));
  socket.resume();
  await vi.waitFor(() => expect(received).toBe(count * (octets + 2)), { timeout: 20_000 });
  socket.destroy();
}, 60_000);
