// What is not an ordinary query, and TCP: octets against the real sockets.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { silentLog } from "../../core/log.ts";
import { serveAddress } from "../../dns/listen/socket.ts";
import { listenTcp } from "../../dns/listen/tcp-listener.ts";
import { SharedCounters } from "../../dns/observe/counters.ts";
import type { Responder } from "../../dns/respond/responder.ts";
import type { DnsServer } from "../../dns/server.ts";
import { plainTransport } from "../../dns/udp-transport.ts";
import { cidr, ip } from "../support/builders.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { ask, askUntil, ownAddress, startTestDns, testPort, testTarget } from "./test-server.ts";
import { framed, judged, queryOctets, sendTcp, sendUdp } from "./wire-client.ts";

const web = "web.prod.svc.cluster.local";
const second = ownAddress(2);
const stranger = ownAddress(99);
let server: DnsServer;

beforeAll(async () => {
  server = await startTestDns({
    addresses: [ip(testTarget.address), ip(second)],
    // All of this process's addresses but the stranger's.
    clients: [cidr("127.0.0.1/32"), cidr(`${ownAddress(0)}/27`)],
  });
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
});
afterAll(() => server[Symbol.asyncDispose]());

// Whatever a test sent, the next client gets its answer.
afterEach(() => askUntil(web, "A", ({ answers }) => answers.join() === "A 10.96.1.1"));

const query = (more = {}): Buffer => queryOctets(web, "A", { id: 0xabcd, ...more });
const edited = (packet: Buffer, edits: Readonly<Record<number, number>>): Buffer => {
  const copy = Buffer.from(packet);
  for (const [at, value] of Object.entries(edits)) copy[Number(at)] = value;
  return copy;
};
const header = (flags: string, counts: string): Buffer =>
  Buffer.from(`abcd${flags}${counts}`, "hex");
const opt = (more = ""): Buffer =>
  Buffer.from(`00002904d000000000${more === "" ? "0000" : more}`, "hex");
const withOpts = (...opts: readonly Buffer[]): Buffer =>
  Buffer.concat([edited(query(), { 11: opts.length }), ...opts]);

const rcodeOf = (answer: Buffer): number => answer[3]! & 0x0f;
const send = async (packet: Uint8Array): Promise<Buffer> => {
  const answer = await sendUdp(testTarget, packet);
  if (answer === undefined) throw new Error("no answer");
  return answer;
};
const silence = async (packet: Uint8Array): Promise<void> =>
  expect(await sendUdp(testTarget, packet, 200)).toBeUndefined();

describe("over UDP", () => {
  test("J01 11 octets get silence", () => silence(query().subarray(0, 11)));
  test("J05 an answer gets silence", () => silence(edited(query(), { 2: 0x81 })));

  test("J02 no question: FORMERR in 12 octets, id and RD kept", async () => {
    const answer = await send(header("0100", "0000000000000000"));
    expect(answer.toString("hex")).toBe("abcd81810000000000000000");
    const norec = await send(header("0000", "0000000000000000"));
    expect(norec.toString("hex")).toBe("abcd80810000000000000000");
  });

  test("J04 two questions: FORMERR", async () => {
    const two = Buffer.concat([edited(query(), { 5: 2 }), queryOctets(web, "AAAA").subarray(12)]);
    expect(rcodeOf(await send(two))).toBe(1);
  });

  test.each([1, 2, 3, 5, 6, 15])("J06 opcode %i: NOTIMP", async (opcode) => {
    const answer = await send(edited(query(), { 2: (opcode << 3) | 1 }));
    expect(rcodeOf(answer)).toBe(4);
    expect((answer[2]! >> 3) & 15).toBe(opcode);
  });

  test("J08 NOTIFY gets no zone data", async () => {
    const notify = edited(queryOctets("cluster.local", "SOA"), { 2: 4 << 3 });
    const answer = await send(notify);
    expect(rcodeOf(answer)).toBe(4);
    expect(answer.readUInt16BE(6)).toBe(0);
  });

  test.each([0x40, 0x80, 0xc0])("J09 label type 0x%x: FORMERR", async (type) => {
    expect(rcodeOf(await send(edited(query(), { 12: type })))).toBe(1);
  });

  test("J11 a name of 256 octets: FORMERR", async () => {
    const label = Buffer.concat([Buffer.from([63]), Buffer.alloc(63, 0x61)]);
    const long = Buffer.concat([
      header("0100", "0001000000000000"),
      label,
      label,
      label,
      label,
      Buffer.from("0000010001", "hex"),
    ]);
    expect(rcodeOf(await send(long))).toBe(1);
  });

  test("J13 octets behind the query do no harm", async () => {
    const answer = await send(Buffer.concat([query(), Buffer.from("junk")]));
    expect(judged(answer).answers).toEqual(["A 10.96.1.1"]);
  });

  test("J14 two OPT: FORMERR", async () => {
    expect(rcodeOf(await send(withOpts(opt(), opt())))).toBe(1);
  });

  test("J15 EDNS version 1: BADVERS with version 0 and no record", async () => {
    const answer = await send(query({ edns: { version: 1 } }));
    expect(rcodeOf(answer)).toBe(0);
    // OPT: root, type, size, upper rcode 1, version 0.
    expect(answer.subarray(-11).toString("hex")).toBe("00002904d0010000000000");
    expect(judged(answer).answers).toEqual([]);
  });

  test("J17 a small EDNS size counts as 512", async () => {
    const name = "big.prod.svc.cluster.local";
    const answer = await send(queryOctets(name, "A", { edns: { udpSize: 100 } }));
    expect(answer.length).toBeLessThanOrEqual(512);
    expect(judged(answer)).toMatchObject({ isTruncated: true, hasOpt: true });
  });

  test("J18 a great EDNS size counts as 1232", async () => {
    const name = "big.prod.svc.cluster.local";
    const answer = await send(queryOctets(name, "A", { edns: { udpSize: 4096 } }));
    expect(answer.length).toBeLessThanOrEqual(1232);
    expect(judged(answer)).toMatchObject({ isTruncated: true });
    expect(judged(answer).answers.length).toBeGreaterThan(60);
  });

  test("J20 OPT in the answer exactly when in the query, of 1232 octets", async () => {
    expect(judged(await send(query())).hasOpt).toBe(false);
    const answer = await send(query({ edns: { udpSize: 4096, dnssecOk: true } }));
    expect(answer.subarray(-11).toString("hex")).toBe("00002904d0000080000000");
  });

  test("J24 version.bind TXT CH: REFUSED", async () => {
    const answer = await send(queryOctets("version.bind", "TXT", { class: "CH" }));
    expect(judged(answer)).toMatchObject({ rcode: "REFUSED", answers: [] });
  });

  test.each([
    ["0", "FORMERR"],
    ["41", "FORMERR"],
    ["249", "NOTIMP"],
    ["251", "REFUSED"],
    ["65280", "NOERROR"],
  ])("J26 type %s: %s", async (type, rcode) => {
    expect(judged(await send(queryOctets(web, type)))).toMatchObject({ rcode, answers: [] });
  });

  test("J27 RD=0 is answered, and stays 0", async () => {
    const answer = await send(query({ recursionDesired: false }));
    expect(judged(answer).answers).toEqual(["A 10.96.1.1"]);
    expect(answer[2]! & 1).toBe(0);
  });

  test("J29 TC=1 in a query does no harm", async () => {
    const answer = judged(await send(edited(query(), { 2: 0x03 })));
    expect(answer).toMatchObject({ answers: ["A 10.96.1.1"], isTruncated: false });
  });

  test("J35 an answer comes from the address asked", async () => {
    for (const address of [testTarget.address, second]) {
      // The client is connected: the kernel drops an answer from anywhere else.
      const octets = await sendUdp({ address, port: testPort }, query());
      expect(octets && judged(octets).answers).toEqual(["A 10.96.1.1"]);
    }
  });

  test("J36 the answer to A01 has 60 octets", async () => {
    expect((await send(query())).length).toBe(60);
  });

  test("J38 each of two addresses is first in a quarter to three quarters of the answers", async () => {
    const first = new Map<string, number>();
    for (let i = 0; i < 200; i++) {
      const [address = ""] = (await ask("cache.prod.svc.cluster.local", "A")).answers;
      first.set(address, (first.get(address) ?? 0) + 1);
    }
    expect([...first.keys()].toSorted()).toEqual(["A 10.244.1.30", "A 10.244.2.30"]);
    for (const count of first.values()) expect(count).toBeGreaterThanOrEqual(50);
  });

  test("J40 mutated queries: alive, and no error longer than the query allows", async () => {
    const seeds = [query(), query({ edns: {} }), withOpts(opt("0004000a0000"))];
    const damage = fc.array(fc.tuple(fc.nat(100), fc.nat(255)), { minLength: 1, maxLength: 6 });
    const packets = fc.sample(
      fc.tuple(fc.constantFrom(...seeds), damage, fc.nat(4)).map(([seed, edits, cut]) => {
        const packet = edited(seed, {});
        for (const [at, value] of edits) packet[at % packet.length] = value;
        return packet.subarray(0, packet.length - cut);
      }),
      { numRuns: 3000, seed: 40 },
    );
    for (let i = 0; i < packets.length; i += 100) {
      const batch = packets.slice(i, i + 100);
      const answers = await Promise.all(batch.map((packet) => sendUdp(testTarget, packet, 150)));
      for (const [n, answer] of answers.entries()) {
        if (answer === undefined || rcodeOf(answer) === 0) continue;
        expect(answer.length).toBeLessThanOrEqual(Math.max(512, 4 * batch[n]!.length));
      }
    }
    expect(server.counters()).toMatchObject({ errors: 0, restarts: 0 });
  }, 60_000);

  test("a client that may not ask is refused in no more octets than it sent", async () => {
    const socket = createSocket("udp4");
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    socket.on("message", resolve);
    await new Promise<void>((bound) => socket.bind({ address: stranger, port: 0 }, bound));
    const packet = queryOctets("db.prod.svc.cluster.local", "SRV", { edns: { udpSize: 4096 } });
    const before = server.counters().refused;
    socket.send(packet, testPort, testTarget.address);
    const answer = await promise;
    socket.close();
    expect(judged(answer)).toMatchObject({ rcode: "REFUSED", answers: [], additionals: [] });
    expect(answer.length).toBeLessThanOrEqual(packet.length);
    expect(server.counters().refused).toBe(before + 1);
  });
});

describe("over TCP", () => {
  test("J30 three queries in one segment get three answers", async () => {
    const packets = [1, 2, 3].map((id) => query({ id }));
    const { answers } = await sendTcp(testTarget, [framed(...packets)], { count: 3 });
    expect(new Set(answers.map((answer) => answer.readUInt16BE(0)))).toEqual(new Set([1, 2, 3]));
    for (const answer of answers) expect(judged(answer).answers).toEqual(["A 10.96.1.1"]);
  });

  test("a hundred pipelined queries are all answered", async () => {
    const packets = Array.from({ length: 100 }, (_, id) => query({ id }));
    const { answers } = await sendTcp(testTarget, [framed(...packets)], { count: 100 });
    expect(new Set(answers.map((answer) => answer.readUInt16BE(0))).size).toBe(100);
  });

  test("J31 one octet per segment is a query too", async () => {
    const octets = [...framed(query())].map((octet) => Uint8Array.of(octet));
    const { answers } = await sendTcp(testTarget, octets);
    expect(judged(answers[0]!).answers).toEqual(["A 10.96.1.1"]);
  });

  test("a client that ends its side still gets its answers", async () => {
    const socket = connect({ host: testTarget.address, port: testPort });
    socket.end(framed(query(), query()));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).length).toBe(2 * 62);
  });

  test.each([
    ["of no octets", Buffer.from("0000", "hex")],
    ["longer than any query", Buffer.from("ffff0000", "hex")],
  ])("a frame %s closes the connection", async (_what, octets) => {
    const { isClosed, answers } = await sendTcp(testTarget, [octets]);
    expect({ isClosed, answers }).toEqual({ isClosed: true, answers: [] });
  });

  test("a client that may not ask is not let in", async () => {
    const options = { localAddress: stranger };
    const { isClosed, answers } = await sendTcp(testTarget, [framed(query())], options);
    expect({ isClosed, answers }).toEqual({ isClosed: true, answers: [] });
  });

  const listen = (
    limits: Parameters<typeof listenTcp>[0]["limits"],
    respond: Responder = (packet) => packet,
  ) =>
    listenTcp({
      address: ip(ownAddress(3)),
      port: testPort,
      respond,
      isAllowed: () => true,
      counters: new SharedCounters(),
      ...(limits && { limits }),
    });
  const other = { address: ownAddress(3), port: testPort };

  test("J33 a connection that sends nothing is closed, also one that trickles", async () => {
    await using _listener = await listen({ idleMs: 300 });
    const idle = await sendTcp(other, []);
    expect(idle.isClosed).toBe(true);
    expect(idle.elapsedMs).toBeGreaterThan(250);
    const trickle = sendTcp(other, [Uint8Array.of(0), Uint8Array.of(50), Uint8Array.of(1)]);
    expect((await trickle).isClosed).toBe(true);
  });

  test("a connection in use stays open", async () => {
    await using _listener = await listen({ idleMs: 1_500 });
    const socket = connect({ host: other.address, port: other.port });
    // Longer than that altogether, and each time much shorter.
    for (let i = 0; i < 5; i++) {
      socket.write(framed(Buffer.from("ping")));
      const [chunk] = (await once(socket, "data")) as [Buffer];
      expect(chunk.subarray(2).toString()).toBe("ping");
      await delay(400);
    }
    socket.destroy();
  });

  test("a client that ends its side gets also what takes time, out of order", async () => {
    const slowFirst: Responder = async (packet) => {
      await delay(String(packet) === "slow" ? 200 : 20);
      return packet;
    };
    await using _listener = await listen({}, slowFirst);
    const socket = connect({ host: other.address, port: other.port, allowHalfOpen: true });
    socket.end(framed(Buffer.from("slow"), Buffer.from("fast")));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks)).toEqual(framed(Buffer.from("fast"), Buffer.from("slow")));
  });

  test("no more queries of one connection are answered at a time than the limit", async () => {
    let running = 0;
    let most = 0;
    const respond: Responder = async (packet) => {
      most = Math.max(most, ++running);
      await delay(10);
      running--;
      return packet;
    };
    await using _listener = await listen({ maxInFlight: 4 }, respond);
    const packets = Array.from({ length: 40 }, (_, i) => Buffer.from(`q${i}`));
    const { answers } = await sendTcp(other, [framed(...packets)], { count: 40 });
    expect(new Set(answers.map(String)).size).toBe(40);
    expect(most).toBe(4);
  });

  test("at the limit an idle connection makes room for a new one", async () => {
    await using _listener = await listen({ maxConnectionsPerClient: 2, maxConnections: 100 });
    const [first, held] = [sendTcp(other, []), sendTcp(other, [])];
    await delay(100);
    const third = await sendTcp(other, [framed(Buffer.from("hello"))]);
    expect(third.answers.map(String)).toEqual(["hello"]);
    expect((await first).isClosed).toBe(true);
    expect((await held).isClosed).toBe(false);
  });
});

describe("an address that cannot be bound", () => {
  test("is reported once, and taken when it becomes free", async () => {
    const address = ip(ownAddress(4));
    const counters = new SharedCounters();
    const common = { address, port: testPort, counters, udp: plainTransport(counters) };
    const options = { ...common, respond: () => undefined, isAllowed: () => true };
    const warnings: string[] = [];
    const warn = (fields: object, message: string) =>
      void warnings.push(`${message}: ${JSON.stringify(fields)}`);
    const log = { ...silentLog, warn };
    const states: boolean[] = [];
    const bound = Promise.withResolvers<void>();
    const stop = new AbortController();
    let served: Promise<void>;
    {
      await using _occupier = await listenTcp(options);
      const onState = (_address: string, isListening: boolean): void => {
        states.push(isListening);
        if (isListening) bound.resolve();
      };
      const ending = { answered: async () => {}, drainMs: () => 0 };
      served = serveAddress({ ...options, ...ending, onState, log }, stop.signal);
      await delay(300);
      expect(states.length).toBeGreaterThan(1);
      expect(states).not.toContain(true);
    }
    await bound.promise;
    stop.abort();
    await served;
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("EADDRINUSE");
  });

  test("does not keep the others from serving", async () => {
    // Not on this machine: TEST-NET-1.
    const missing = ip("192.0.2.1");
    await using partial = await startTestDns({ addresses: [missing, ip(ownAddress(5))] });
    expect(partial.listening()).toEqual([ownAddress(5)]);
    const answer = await sendUdp({ address: ownAddress(5), port: testPort }, query());
    expect(answer && judged(answer)).toMatchObject({ rcode: "SERVFAIL" });
  });
});
