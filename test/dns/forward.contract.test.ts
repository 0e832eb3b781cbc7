// The forwarder against upstreams that do what a script says.
import { createSocket } from "node:dgram";
import { describe, expect, test } from "vitest";
import type { Query } from "../../dns/handlers/resolver.ts";
import { type Message, Rcode, RecordType } from "../../dns/message/message.ts";
import { foldName, formatName, parseName } from "../../dns/message/name.ts";
import { timeLived } from "../support/lived.ts";
import { addressesOf, forwarder } from "./forwarder.ts";
import { aQuery } from "./query.ts";
import { a, reply, type Script, soa, startUpstream } from "./scripted-upstream.ts";

const query = (name: string, more: Partial<Query> = {}): Query => aQuery(name, RecordType.A, more);

const answerWith =
  (address: string): Script =>
  ({ query, name }) => [reply(query, { answers: [a(name, address)] })];
const silent: Script = () => [];
const rcode =
  (code: number): Script =>
  ({ query }) => [reply(query, { rcode: code })];

describe("an answer is believed only when it is one", () => {
  const wrong: Readonly<Record<string, (message: Message) => Message>> = {
    "K09 a wrong id": (message) => ({ ...message, id: message.id ^ 1 }),
    "another name": (message) => ({
      ...message,
      questions: [{ ...message.questions[0]!, name: parseName("evil.example")! }],
    }),
    "another type": (message) => ({
      ...message,
      questions: [{ ...message.questions[0]!, type: RecordType.TXT }],
    }),
    "two questions": (message) => ({
      ...message,
      questions: [message.questions[0]!, message.questions[0]!],
    }),
    "no question": (message) => ({ ...message, questions: [] }),
    "another opcode": (message) => ({ ...message, opcode: 4 }),
    "QR=0": (message) => ({ ...message, isResponse: false }),
  };
  test.each(Object.entries(wrong))(
    "%s is ignored, the right one behind it used",
    async (_, spoil) => {
      await using upstream = await startUpstream(({ query, name }) => [
        spoil(reply(query, { answers: [a(name, "6.6.6.6")] })),
        Uint8Array.of(1, 2, 3),
        reply(query, { answers: [a(name, "192.0.2.1")] }),
      ]);
      const answer = await forwarder([upstream.upstream]).resolve(query("a.example"));
      expect(addressesOf(answer)).toEqual(["192.0.2.1"]);
    },
  );

  test("K10 from another port or address is ignored", async () => {
    const forger = createSocket("udp4");
    const elsewhere = createSocket("udp4");
    forger.bind({ address: "127.0.0.1", port: 0 });
    elsewhere.bind({ address: "127.0.0.2", port: 0 });
    await using upstream = await startUpstream(({ query, name }, self, client) => {
      const forged = reply(query, { answers: [a(name, "6.6.6.6")] });
      const real = reply(query, { answers: [a(name, "192.0.2.1")] });
      void (async () => {
        const { encodeMessage } = await import("../../dns/message/encode.ts");
        for (const socket of [forger, elsewhere]) {
          socket.send(encodeMessage(forged), client!.port, client!.address);
        }
        setTimeout(() => self.udp.send(encodeMessage(real), client!.port, client!.address), 50);
      })();
      return [];
    });
    const answer = await forwarder([upstream.upstream]).resolve(query("a.example"));
    expect(addressesOf(answer)).toEqual(["192.0.2.1"]);
    forger.close();
    elsewhere.close();
  });

  test("K24 ids and ports of 1000 queries are spread and without order", async () => {
    await using upstream = await startUpstream(answerWith("192.0.2.1"));
    const { resolve } = forwarder([upstream.upstream]);
    for (let i = 0; i < 1000; i += 50) {
      const batch = Array.from({ length: 50 }, (_, n) => resolve(query(`n${i + n}.example`)));
      await Promise.all(batch);
    }
    const ids = upstream.asked.map(({ query }) => query.id);
    const ports = upstream.asked.map(({ sourcePort }) => sourcePort);
    expect(new Set(ports).size).toBeGreaterThan(64);
    // 16 buckets of 62.5: chi-square of 15 degrees stays under 76 but for 1 in 1,000,000,000 runs.
    const buckets = Array.from({ length: 16 }, (_, i) => ids.filter((id) => id >> 12 === i).length);
    const chiSquare = buckets.reduce((sum, n) => sum + (n - 62.5) ** 2 / 62.5, 0);
    expect(chiSquare).toBeLessThan(76);
    const ascents = (values: readonly number[]): number =>
      values.filter((value, i) => i > 0 && value > values[i - 1]!).length;
    for (const values of [ids, ports]) {
      expect(ascents(values)).toBeGreaterThan(400);
      expect(ascents(values)).toBeLessThan(600);
    }
  });
});

describe("upstreams in trouble", () => {
  test.concurrent("K14 the first is silent: the second answers in under 2.5 s", async () => {
    await using first = await startUpstream(silent);
    await using second = await startUpstream(answerWith("192.0.2.2"));
    const { resolve } = forwarder([first.upstream, second.upstream]);
    const [answer, elapsedMs] = await timeLived(() => resolve(query("a.example")));
    expect(addressesOf(answer)).toEqual(["192.0.2.2"]);
    expect(elapsedMs).toBeLessThan(2500);
    // Known to be down, it does not hold up the next query.
    const [, nextMs] = await timeLived(() => resolve(query("b.example")));
    expect(nextMs).toBeLessThan(500);
    expect(first.asked.map(({ name }) => name)).not.toContain("b.example");
  });

  test.concurrent("K15 all are silent: SERVFAIL in under 5 s", async () => {
    await using first = await startUpstream(silent);
    await using second = await startUpstream(silent);
    const { resolve } = forwarder([first.upstream, second.upstream]);
    const [answer, elapsedMs] = await timeLived(() => resolve(query("a.example")));
    expect(answer).toMatchObject({ rcode: Rcode.SERVFAIL, extendedError: 22 });
    expect(elapsedMs).toBeLessThan(5000);
  });

  test("nobody listens: SERVFAIL at once", async () => {
    const gone = await startUpstream(silent);
    await gone[Symbol.asyncDispose]();
    const { resolve } = forwarder([gone.upstream]);
    const [answer, elapsedMs] = await timeLived(() => resolve(query("a.example")));
    expect(answer.rcode).toBe(Rcode.SERVFAIL);
    expect(elapsedMs).toBeLessThan(500);
  });

  test.each([
    ["K19 REFUSED", Rcode.REFUSED],
    ["SERVFAIL", Rcode.SERVFAIL],
    ["NOTIMP", Rcode.NOTIMP],
  ])("%s: the second is asked", async (_name, code) => {
    await using first = await startUpstream(rcode(code));
    await using second = await startUpstream(answerWith("192.0.2.2"));
    const { resolve } = forwarder([first.upstream, second.upstream]);
    expect(addressesOf(await resolve(query("a.example")))).toEqual(["192.0.2.2"]);
  });

  test("all answer SERVFAIL: the client gets it at once", async () => {
    await using first = await startUpstream(rcode(Rcode.SERVFAIL));
    const { resolve } = forwarder([first.upstream]);
    const [answer, elapsedMs] = await timeLived(() => resolve(query("a.example")));
    expect(answer.rcode).toBe(Rcode.SERVFAIL);
    expect(elapsedMs).toBeLessThan(500);
    expect(first.asked).toHaveLength(1);
  });

  test("FORMERR to EDNS: asked again without, and from then on without", async () => {
    await using upstream = await startUpstream((asked) =>
      asked.query.edns === undefined
        ? answerWith("192.0.2.1")(asked, upstream, undefined)
        : // As an old server does: a header and nothing else.
          [Buffer.from([asked.query.id >> 8, asked.query.id, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0])],
    );
    const { resolve } = forwarder([upstream.upstream]);
    for (const name of ["a.example", "b.example"]) {
      expect(addressesOf(await resolve(query(name)))).toEqual(["192.0.2.1"]);
    }
    expect(upstream.asked.map(({ query }) => query.edns !== undefined)).toEqual([
      true,
      false,
      false,
    ]);
  });

  test("K17 truncated: asked again over TCP, all of it passed on", async () => {
    await using upstream = await startUpstream(({ query, name, transport }) => {
      const all = Array.from({ length: 100 }, (_, i) => a(name, `192.0.2.${i}`));
      return transport === "udp"
        ? [reply(query, { truncated: true, answers: all.slice(0, 2) })]
        : [reply(query, { answers: all })];
    });
    const answer = await forwarder([upstream.upstream]).resolve(query("big.example"));
    expect(answer.answers).toHaveLength(100);
    expect(upstream.asked.map(({ transport }) => transport)).toEqual(["udp", "tcp"]);
  });

  test("an unreadable answer is asked again over TCP, once", async () => {
    await using upstream = await startUpstream((asked) =>
      asked.transport === "tcp"
        ? answerWith("192.0.2.1")(asked, upstream, undefined)
        : [
            Buffer.concat([
              Buffer.from([asked.query.id >> 8, asked.query.id, 0x81, 0x80]),
              Buffer.from("ffffffffffffffff", "hex"),
            ]),
          ],
    );
    const answer = await forwarder([upstream.upstream]).resolve(query("a.example"));
    expect(addressesOf(answer)).toEqual(["192.0.2.1"]);
    expect(upstream.asked).toHaveLength(2);
  });
});

describe("what is asked and what is passed on", () => {
  test("the additional section is not (K26)", async () => {
    await using upstream = await startUpstream(({ query, name }) => [
      reply(query, {
        answers: [a(name, "192.0.2.1")],
        additionals: [a("bank.example", "6.6.6.6")],
      }),
    ]);
    const answer = await forwarder([upstream.upstream]).resolve(query("a.example"));
    expect(answer.additionals).toEqual([]);
    expect(JSON.stringify(answer)).not.toContain("6.6.6.6");
  });

  test("a negative answer keeps its rcode and its SOA", async () => {
    await using upstream = await startUpstream(({ query }) => [
      reply(query, { rcode: 3, authorities: [soa("example")] }),
    ]);
    const answer = await forwarder([upstream.upstream]).resolve(query("nx.example"));
    expect(answer).toMatchObject({ rcode: 3, authoritative: false, authorities: [soa("example")] });
  });

  test("K33 DO and CD go along, and questions with and without are apart", async () => {
    await using upstream = await startUpstream(answerWith("192.0.2.1"));
    const { resolve } = forwarder([upstream.upstream]);
    await Promise.all([
      resolve(query("a.example")),
      resolve(query("a.example", { dnssecOk: true })),
      resolve(query("a.example", { checkingDisabled: true })),
    ]);
    const seen = upstream.asked.map(({ query }) => [query.edns?.dnssecOk, query.checkingDisabled]);
    expect(seen).toHaveLength(3);
    expect(seen).toEqual(
      expect.arrayContaining([
        [false, false],
        [true, false],
        [false, true],
      ]),
    );
  });

  test("RD=0 is refused, ANY is answered with a token: no upstream is asked", async () => {
    await using upstream = await startUpstream(answerWith("192.0.2.1"));
    const { resolve } = forwarder([upstream.upstream]);
    const norec = await resolve(query("a.example", { recursionDesired: false }));
    expect(norec.rcode).toBe(Rcode.REFUSED);
    const question = { name: parseName("a.example")!, type: RecordType.ANY, class: 1 };
    const any = await resolve(query("a.example", { question }));
    expect(any.answers.map(({ type }) => type)).toEqual([RecordType.HINFO]);
    expect(upstream.asked).toEqual([]);
  });
});

describe("many at once", () => {
  test("K13 a hundred clients of one name: one query, each its own spelling", async () => {
    await using upstream = await startUpstream(answerWith("192.0.2.1"));
    const { resolve, counters } = forwarder([upstream.upstream]);
    const spell = (n: number): string =>
      "coalesce.example"
        .split("")
        .map((c, i) => ((n >> (i % 7)) & 1 ? c.toUpperCase() : c))
        .join("");
    const answers = await Promise.all(
      Array.from(
        { length: 100 },
        async (_, n) => [spell(n), await resolve(query(spell(n)))] as const,
      ),
    );
    expect(upstream.asked).toHaveLength(1);
    expect(counters.read().forwarded).toBe(1);
    for (const [spelling, answer] of answers) {
      expect(answer.answers.map(({ name }) => formatName(name))).toEqual([spelling]);
    }
    // And the query itself tells nothing of any client's spelling.
    const [asked] = upstream.asked;
    expect(asked!.query.questions[0]!.name).toBe(foldName(asked!.query.questions[0]!.name));
  });

  test("K23 with all places taken the next is told so at once", async () => {
    await using upstream = await startUpstream(silent);
    const stop = new AbortController();
    const { resolve, counters } = forwarder([upstream.upstream], { signal: stop.signal });
    const waiting = Array.from({ length: 1000 }, (_, n) => resolve(query(`n${n}.example`)));
    const [answer, elapsedMs] = await timeLived(() => resolve(query("one-more.example")));
    expect(answer.rcode).toBe(Rcode.SERVFAIL);
    // Far from any timeout.
    expect(elapsedMs).toBeLessThan(1000);
    expect(counters.read().rejected).toBeGreaterThan(0);
    stop.abort();
    for (const one of await Promise.all(waiting)) expect(one.rcode).toBe(Rcode.SERVFAIL);
  });

  test("however many take all places that they can get, one that asks little has one", async () => {
    await using upstream = await startUpstream(({ query: asked, name }) =>
      name.startsWith("slow") ? [] : [reply(asked, { answers: [a(name, "192.0.2.1")] })],
    );
    const stop = new AbortController();
    const limits = { maxOutstanding: 100 };
    const { resolve } = forwarder([upstream.upstream], { signal: stop.signal, limits });
    const from = (address: string, name: string) =>
      resolve({ ...query(name), client: { address, transport: "udp" } });
    const waiting = Array.from({ length: 400 }, (_, n) =>
      from(`10.244.1.${n % 8}`, `slow${n}.example`),
    );
    expect((await from("10.244.1.9", "fast.example")).rcode).toBe(Rcode.NOERROR);
    stop.abort();
    await Promise.all(waiting);
  });
});
