// What makes an answer of an upstream hard to forge, and how a failed one comes back.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import type { Log, LogFields } from "../../core/log.ts";
import { silentLog } from "../../core/log.ts";
import { type Message, RecordType } from "../../dns/message/message.ts";
import { foldName } from "../../dns/message/name.ts";
import { ip } from "../support/builders.ts";
import { addressesOf, forwarder, until } from "./forwarder.ts";
import { aQuery } from "./query.ts";
import { a, reply, type Script, startUpstream } from "./scripted-upstream.ts";

const cookieCode = 10;
const cookieOf = ({ edns }: Message): Buffer | undefined => {
  const octets = edns?.options.find(({ code }) => code === cookieCode)?.octets;
  return octets && Buffer.from(octets);
};
const withCookie = (message: Message, octets: Uint8Array): Message => ({
  ...message,
  edns: { ...message.edns!, options: [{ code: cookieCode, octets }] },
});
const right = (query: Message, name: string): Message =>
  reply(query, { answers: [a(name, "192.0.2.1")] });
const forged = (query: Message, name: string): Message =>
  reply(query, { answers: [a(name, "6.6.6.6")] });
const serverCookie = Buffer.from("0100000065f00000aabbccddeeff0011", "hex");

describe("cookies", () => {
  test("ours goes along, is random, and the upstream's comes back to it", async () => {
    await using upstream = await startUpstream(({ query, name }) => {
      const ours = cookieOf(query)!.subarray(0, 8);
      return [withCookie(right(query, name), Buffer.concat([ours, serverCookie]))];
    });
    using forward = forwarder([upstream.upstream]);
    using other = forwarder([upstream.upstream]);
    await forward.resolve(aQuery("a.example"));
    await forward.resolve(aQuery("b.example"));
    await other.resolve(aQuery("c.example"));
    const cookies = upstream.asked.map(({ query }) => cookieOf(query)!);
    expect(cookies.map(({ length }) => length)).toEqual([8, 24, 8]);
    expect(cookies[1]!.subarray(0, 8)).toEqual(cookies[0]);
    expect(cookies[1]!.subarray(8)).toEqual(serverCookie);
    expect(cookies[2]).not.toEqual(cookies[0]);
  });

  test("an answer with another client's cookie is ignored, the right one behind it used", async () => {
    await using upstream = await startUpstream(({ query, name }) => {
      const ours = cookieOf(query)!.subarray(0, 8);
      return [
        withCookie(forged(query, name), Buffer.concat([Buffer.alloc(8, 7), serverCookie])),
        withCookie(right(query, name), Buffer.concat([ours, serverCookie])),
      ];
    });
    using forward = forwarder([upstream.upstream]);
    expect(addressesOf(await forward.resolve(aQuery("a.example")))).toEqual(["192.0.2.1"]);
  });

  test("without the cookie of an upstream that has them, TCP decides", async () => {
    await using upstream = await startUpstream(({ query, name, transport }) => {
      const ours = cookieOf(query)!.subarray(0, 8);
      const good = withCookie(right(query, name), Buffer.concat([ours, serverCookie]));
      const bare = { ...forged(query, name), edns: { ...query.edns!, options: [] } };
      return name === "b.example" && transport === "udp" ? [bare] : [good];
    });
    using forward = forwarder([upstream.upstream]);
    await forward.resolve(aQuery("a.example"));
    expect(addressesOf(await forward.resolve(aQuery("b.example")))).toEqual(["192.0.2.1"]);
    expect(upstream.asked.map(({ transport }) => transport)).toEqual(["udp", "udp", "tcp"]);
  });

  test("BADCOOKIE brings a new one, with which it is asked again", async () => {
    await using upstream = await startUpstream(({ query, name }) => {
      const cookie = cookieOf(query)!;
      const ours = cookie.subarray(0, 8);
      const isKnown = cookie.subarray(8).equals(serverCookie);
      const message = isKnown ? right(query, name) : reply(query, { rcode: 23 });
      return [withCookie(message, Buffer.concat([ours, serverCookie]))];
    });
    using forward = forwarder([upstream.upstream]);
    expect(addressesOf(await forward.resolve(aQuery("a.example")))).toEqual(["192.0.2.1"]);
    expect(upstream.asked.map(({ query }) => cookieOf(query)!.length)).toEqual([8, 24]);
  });

  test("a server that merely copies the option back is no trouble", async () => {
    await using upstream = await startUpstream(({ query, name }) => [
      withCookie(right(query, name), cookieOf(query)!),
    ]);
    using forward = forwarder([upstream.upstream]);
    for (const name of ["a.example", "b.example"]) {
      expect(addressesOf(await forward.resolve(aQuery(name)))).toEqual(["192.0.2.1"]);
    }
    expect(upstream.asked.map(({ transport }) => transport)).toEqual(["udp", "udp"]);
  });
});

describe("0x20", () => {
  const mixed = { settings: { mixCase: true } };
  const long = "a-name-with-more-than-thirty-letters.example";
  const lowered = (message: Message): Message => ({
    ...message,
    questions: message.questions.map((one) => ({ ...one, name: foldName(one.name) })),
  });

  test("letters are asked in random case, and the client gets its own back", async () => {
    await using upstream = await startUpstream(({ query, name }) => [right(query, name)]);
    using forward = forwarder([upstream.upstream], mixed);
    const answer = await forward.resolve(aQuery(long));
    expect(addressesOf(answer)).toEqual(["192.0.2.1"]);
    const [first] = upstream.asked;
    expect(first!.name.toLowerCase()).toBe(long);
    expect(first!.name).toMatch(/[A-Z]/);
    expect(first!.name).toMatch(/[a-z]/);
    expect(answer.answers[0]!.name).toBe(aQuery(long).question.name);
  });

  test("K12 an upstream that lower-cases is asked over TCP, then in lower case over UDP", async () => {
    await using upstream = await startUpstream(({ query, name }) => [lowered(right(query, name))]);
    using forward = forwarder([upstream.upstream], mixed);
    for (const name of [long, `b.${long}`, `c.${long}`]) {
      expect(addressesOf(await forward.resolve(aQuery(name)))).toEqual(["192.0.2.1"]);
    }
    const seen = upstream.asked.map(({ transport, name }) => [transport, /[A-Z]/.test(name)]);
    expect(seen).toEqual([
      ["udp", true],
      ["tcp", true],
      ["udp", false],
      ["udp", false],
    ]);
  });

  test("a forged answer in another case is not used, and changes nothing for later", async () => {
    let isForging = true;
    await using upstream = await startUpstream(({ query, name, transport }) =>
      transport === "udp" && isForging ? [lowered(forged(query, name))] : [right(query, name)],
    );
    using forward = forwarder([upstream.upstream], mixed);
    expect(addressesOf(await forward.resolve(aQuery(long)))).toEqual(["192.0.2.1"]);
    isForging = false;
    await forward.resolve(aQuery(`b.${long}`));
    expect(upstream.asked.at(-1)).toMatchObject({ transport: "udp" });
    expect(upstream.asked.at(-1)!.name).toMatch(/[A-Z]/);
  });
});

describe("health", () => {
  test("a failed upstream is probed until it answers, and then asked first again", async () => {
    let isUp = false;
    const script: Script = ({ query, name }) => (isUp ? [right(query, name)] : []);
    await using first = await startUpstream(script);
    await using second = await startUpstream(({ query, name }) => [
      reply(query, { answers: [a(name, "192.0.2.2")] }),
    ]);
    const lines: string[] = [];
    const log = logTo(lines);
    using forward = forwarder([first.upstream, second.upstream], { log });
    expect(addressesOf(await forward.resolve(aQuery("a.example")))).toEqual(["192.0.2.2"]);
    const probes = (): typeof first.asked =>
      first.asked.filter(({ query }) => query.questions[0]!.type === RecordType.NS);
    await until(() => probes().length >= 2, "two probes");
    // Down, it holds nobody up.
    expect(addressesOf(await forward.resolve(aQuery("b.example")))).toEqual(["192.0.2.2"]);
    expect(first.asked.map(({ name }) => name)).not.toContain("b.example");
    isUp = true;
    await until(() => lines.includes("Upstream answers again"), "the upstream to be back");
    expect(forward.stats.read()[0]).not.toHaveProperty("problem");
    expect(addressesOf(await forward.resolve(aQuery("c.example")))).toEqual(["192.0.2.1"]);
    expect(lines).toEqual(["Upstream does not answer", "Upstream answers again"]);
    const asked = probes().length;
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(probes()).toHaveLength(asked);
  });

  test("probes become rarer, and are counted", async () => {
    const socket = createSocket("udp4");
    const times: number[] = [];
    // Of the root, behind the header: a probe.
    socket.on("message", (packet) => packet[12] === 0 && times.push(performance.now()));
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const { port } = socket.address();
    const limits = { tryMs: 100, totalMs: 100 };
    const upstream = { address: ip("127.0.0.1"), port };
    using forward = forwarder([upstream], { limits });
    await forward.resolve(aQuery("a.example"));
    // Pauses of 0.25, 0.5 and 1 s, and a second without an answer after each.
    await until(() => times.length >= 3, "three probes");
    const gaps = times.slice(1).map((at, n) => at - times[n]!);
    expect(gaps[0]).toBeGreaterThan(1400);
    expect(gaps[1]).toBeGreaterThan(1900);
    expect(forward.stats.read()[0]!.probeFailures).toBeGreaterThanOrEqual(2);
    socket.close();
  });
});

const logTo = (lines: string[]): Log => {
  const note = (_: LogFields, message: string): void => void lines.push(message);
  return { ...silentLog, info: note, warn: note };
};
