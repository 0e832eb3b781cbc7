import judge from "dns-packet";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ip, ipFromBytes, isIpv4 } from "../../core/address.ts";
import { ip } from "../../test/support/builders.ts";
import { decodeMessage } from "./decode.ts";
import { encodeMessage, encodeWithin } from "./encode.ts";
import { DecodeError, type Message, RecordType, type ResourceRecord } from "./message.ts";
import { brandName, type Name, nameOfLabels, parseName, rootName } from "./name.ts";

const label = fc
  .uint8Array({ minLength: 1, maxLength: 20 })
  .map((octets) => Buffer.from(octets).toString("latin1"));
// Few labels, so that suffixes repeat and compression has work to do.
const anyName: fc.Arbitrary<Name> = fc
  .array(fc.oneof(fc.constantFrom("svc", "cluster", "local", "web"), label), { maxLength: 5 })
  .map((labels) => nameOfLabels(labels) ?? rootName);
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const ttl = fc.integer({ min: 0, max: 0x7fff_ffff });
const ipv6 = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((octets): Ip => ipFromBytes(octets))
  .filter((address) => !isIpv4(address));
const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((octets): Ip => ipFromBytes(octets));

const record = (
  type: fc.Arbitrary<number>,
  data: fc.Arbitrary<ResourceRecord["data"]>,
): fc.Arbitrary<ResourceRecord> =>
  fc.record({ name: anyName, type, class: fc.constant(1), ttl, data });

const anyRecord = fc.oneof(
  record(
    fc.constant(RecordType.A),
    fc.record({ kind: fc.constant("address" as const), address: ipv4 }),
  ),
  record(
    fc.constant(RecordType.AAAA),
    fc.record({ kind: fc.constant("address" as const), address: ipv6 }),
  ),
  record(
    fc.constantFrom(RecordType.CNAME, RecordType.NS, RecordType.PTR),
    fc.record({ kind: fc.constant("name" as const), name: anyName }),
  ),
  record(
    fc.constant(RecordType.SOA),
    fc.record({
      kind: fc.constant("soa" as const),
      primary: anyName,
      mailbox: anyName,
      serial: u32,
      refresh: u32,
      retry: u32,
      expire: u32,
      minimum: u32,
    }),
  ),
  record(
    fc.constant(RecordType.SRV),
    fc.record({
      kind: fc.constant("srv" as const),
      priority: u16,
      weight: u16,
      port: u16,
      target: anyName,
    }),
  ),
  record(
    fc.constant(RecordType.TXT),
    fc.record({ kind: fc.constant("txt" as const), strings: fc.array(label, { maxLength: 3 }) }),
  ),
  record(
    fc.constantFrom(65, 46, 257, 65_280),
    fc.record({ kind: fc.constant("opaque" as const), octets: fc.uint8Array({ maxLength: 40 }) }),
  ),
);

const anyEdns = fc.record({
  udpSize: u16,
  version: fc.integer({ min: 0, max: 255 }),
  dnssecOk: fc.boolean(),
  options: fc.array(fc.record({ code: u16, octets: fc.uint8Array({ maxLength: 20 }) }), {
    maxLength: 3,
  }),
});

const messageParts = {
  id: u16,
  isResponse: fc.boolean(),
  opcode: fc.integer({ min: 0, max: 15 }),
  authoritative: fc.boolean(),
  truncated: fc.boolean(),
  recursionDesired: fc.boolean(),
  recursionAvailable: fc.boolean(),
  authenticData: fc.boolean(),
  checkingDisabled: fc.boolean(),
  questions: fc.array(fc.record({ name: anyName, type: u16, class: u16 }), { maxLength: 2 }),
  answers: fc.array(anyRecord, { maxLength: 6 }),
  authorities: fc.array(anyRecord, { maxLength: 2 }),
  additionals: fc.array(anyRecord, { maxLength: 3 }),
};
const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ ...messageParts, rcode: fc.integer({ min: 0, max: 15 }) }),
  fc.record({ ...messageParts, rcode: fc.integer({ min: 0, max: 4095 }), edns: anyEdns }),
);

const query = (name: string, type: number = RecordType.A): Message => ({
  id: 0x1234,
  isResponse: false,
  opcode: 0,
  authoritative: false,
  truncated: false,
  recursionDesired: true,
  recursionAvailable: false,
  authenticData: false,
  checkingDisabled: false,
  rcode: 0,
  questions: [{ name: parseName(name)!, type, class: 1 }],
  answers: [],
  authorities: [],
  additionals: [],
});

const plain = (octets: Uint8Array): Uint8Array => Uint8Array.from(octets);
const hex = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replace(/\s/g, ""), "hex"));

describe("encodeMessage() and decodeMessage()", () => {
  test("are inverse", () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(decodeMessage(encodeMessage(message))).toEqual(message);
      }),
      { numRuns: 500 },
    );
  });

  test("agree with dns-packet on what a message says", () => {
    const message: Message = {
      ...query("_http._tcp.db.prod.svc.cluster.local", RecordType.SRV),
      isResponse: true,
      authoritative: true,
      answers: ["db-0", "db-1"].map((host) => ({
        name: parseName("_http._tcp.db.prod.svc.cluster.local")!,
        type: RecordType.SRV,
        class: 1,
        ttl: 5,
        data: {
          kind: "srv",
          priority: 0,
          weight: 50,
          port: 5432,
          target: parseName(`${host}.db.prod.svc.cluster.local`)!,
        },
      })),
      authorities: [
        {
          name: parseName("cluster.local")!,
          type: RecordType.SOA,
          class: 1,
          ttl: 5,
          data: {
            kind: "soa",
            primary: parseName("ns.dns.cluster.local")!,
            mailbox: parseName("hostmaster.cluster.local")!,
            serial: 7,
            refresh: 7200,
            retry: 1800,
            expire: 86_400,
            minimum: 5,
          },
        },
      ],
      additionals: [
        {
          name: parseName("db-0.db.prod.svc.cluster.local")!,
          type: RecordType.AAAA,
          class: 1,
          ttl: 5,
          data: { kind: "address", address: ip("fd00:10:244::20") },
        },
        {
          name: parseName("dns-version.cluster.local")!,
          type: RecordType.TXT,
          class: 1,
          ttl: 28_800,
          data: { kind: "txt", strings: ["1.1.0"] },
        },
      ],
      edns: { udpSize: 1232, version: 0, dnssecOk: true, options: [] },
    };
    const octets = encodeMessage(message);
    const judged = judge.decode(Buffer.from(octets));
    expect(judged.flag_aa).toBe(true);
    expect(judged.questions).toEqual([
      { name: "_http._tcp.db.prod.svc.cluster.local", type: "SRV", class: "IN" },
    ]);
    expect(judged.answers?.map((answer) => "data" in answer && answer.data)).toEqual([
      { priority: 0, weight: 50, port: 5432, target: "db-0.db.prod.svc.cluster.local" },
      { priority: 0, weight: 50, port: 5432, target: "db-1.db.prod.svc.cluster.local" },
    ]);
    expect(judged.authorities?.[0]).toMatchObject({
      name: "cluster.local",
      data: { mname: "ns.dns.cluster.local", rname: "hostmaster.cluster.local", minimum: 5 },
    });
    expect(judged.additionals?.map(({ type }) => type)).toEqual(["AAAA", "TXT", "OPT"]);
    // It does not compress, and its reading of its own writing must be ours.
    const rewritten = plain(judge.encode(judged));
    expect(rewritten.length).toBeGreaterThan(octets.length);
    expect(decodeMessage(rewritten)).toEqual(message);
  });

  test("compress to what RFC 1035 allows: one answer for a service is 60 octets", () => {
    const name = parseName("web.prod.svc.cluster.local")!;
    const answer: Message = {
      ...query("web.prod.svc.cluster.local"),
      isResponse: true,
      answers: [
        { name, type: 1, class: 1, ttl: 5, data: { kind: "address", address: ip("10.96.1.1") } },
      ],
    };
    expect(encodeMessage(answer).length).toBe(60);
  });

  test("make names in the data of old types whole, so that they can be passed on", () => {
    // MX 10 mail.<pointer to the question's example.com>
    const message = decodeMessage(
      hex(`0001 8180 0001 0001 0000 0000
        07 6578616d706c65 03 636f6d 00 000f 0001
        c00c 000f 0001 0000003c 0009 000a 04 6d61696c c00c`),
    );
    const mailName = `\x04mail${parseName("example.com")}`;
    expect(message.answers[0]?.data).toEqual({
      kind: "opaque",
      octets: Uint8Array.from(Buffer.from(`\0\x0a${mailName}`, "latin1")),
    });
    expect(decodeMessage(encodeMessage(message))).toEqual(message);
    expect(judge.decode(Buffer.from(encodeMessage(message))).answers?.[0]).toMatchObject({
      data: { preference: 10, exchange: "mail.example.com" },
    });
  });

  test("keep an IPv4-mapped AAAA as it came", () => {
    const message: Message = {
      ...query("a.example", RecordType.AAAA),
      isResponse: true,
      answers: [
        {
          name: parseName("a.example")!,
          type: RecordType.AAAA,
          class: 1,
          ttl: 0,
          data: { kind: "opaque", octets: hex("00000000000000000000ffffc0000201") },
        },
      ],
    };
    expect(decodeMessage(encodeMessage(message))).toEqual(message);
  });
});

describe("decodeMessage()", () => {
  const isDecodeErrorOrMessage = (octets: Uint8Array): void => {
    try {
      decodeMessage(octets);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(DecodeError);
    }
  };

  test("throws nothing but DecodeError for random octets", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), isDecodeErrorOrMessage), {
      numRuns: 2000,
    });
  });

  test("throws nothing but DecodeError for a damaged message", () => {
    const damage = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(anyMessage, damage, fc.nat(2000), (message, edits, cut) => {
        const octets = plain(encodeMessage(message));
        for (const [at, value] of edits) octets[at % octets.length] = value;
        isDecodeErrorOrMessage(octets.subarray(0, Math.max(1, octets.length - (cut % 3))));
      }),
      { numRuns: 2000 },
    );
  });

  const header = "0001 0100 0001 0000 0000 0000";
  test.each([
    ["11 octets", "0001 0100 0001 0000 0000 00"],
    ["a question that is not there", header],
    ["a name without end", `${header} 03 777777`],
    ["a label type 0x40", `${header} 40 00 0001 0001`],
    ["a label type 0x80", `${header} 80 00 0001 0001`],
    ["a pointer in the question", `${header} c00c 0001 0001`],
    ["a name of 256 octets", `${header} ${`3f ${"61".repeat(63)}`.repeat(4)} 00 0001 0001`],
    ["counts that lie", "0001 8000 0001 ffff 0000 0000 00 0001 0001"],
    ["data longer than the message", `0001 8000 0000 0001 0000 0000 00 0010 0001 00000000 0009 01`],
    ["an A of 3 octets", `0001 8000 0000 0001 0000 0000 00 0001 0001 00000000 0003 010203`],
    ["an A of 5 octets", `0001 8000 0000 0001 0000 0000 00 0001 0001 00000000 0005 0102030405`],
    ["a pointer to itself", `0001 8000 0000 0001 0000 0000 c00c 0001 0001 00000000 0004 01020304`],
    ["a pointer forward", `0001 8000 0000 0001 0000 0000 c018 0001 0001 00000000 0004 00000000`],
    [
      "two OPT",
      `0001 0100 0000 0000 0000 0002 00 0029 04d0 00000000 0000 00 0029 04d0 00000000 0000`,
    ],
    ["OPT below the root", `0001 0100 0000 0000 0000 0001 01 61 00 0029 04d0 00000000 0000`],
    ["OPT as an answer", `0001 8100 0000 0001 0000 0000 00 0029 04d0 00000000 0000`],
    [
      "an option longer than OPT",
      `0001 0100 0000 0000 0000 0001 00 0029 04d0 00000000 0005 000a 0008 01`,
    ],
  ])("refuses %s", (_what, octets) => {
    expect(() => decodeMessage(hex(octets))).toThrow(DecodeError);
  });

  test.each([
    ["as long as may be", 127],
    ["longer", 128],
    ["as long as a message can hold", 8_000],
  ])("follows no chain of pointers that is too long: %s", (_what, length) => {
    const start = 23;
    // The first leads to the name of the answer that has the chain for its data, each other one to the
    // one before; the last is the name of the next answer.
    const chain = Array.from({ length }, (_, i) => 0xc000 | (i === 0 ? 12 : start + 2 * (i - 1)));
    const octets = Buffer.concat([
      hex("0001 8000 0000 0002 0000 0000 00 ff00 0001 00000000 0000"),
      Buffer.from(Uint16Array.from(chain).buffer).swap16(),
      hex("ff00 0001 00000000 0000"),
    ]);
    octets.writeUInt16BE(2 * (length - 1), start - 2);
    const names = () => decodeMessage(octets).answers.map(({ name }) => name);
    if (length <= 127) expect(names()).toEqual([rootName, rootName]);
    else expect(names).toThrow("a pointer backward");
  });

  test("takes a TTL with the top bit for zero", () => {
    const message = decodeMessage(
      hex("0001 8000 0000 0001 0000 0000 00 0001 0001 80000001 0004 01020304"),
    );
    expect(message.answers[0]?.ttl).toBe(0);
  });
});

describe("encodeWithin()", () => {
  const name = parseName("big.prod.svc.cluster.local")!;
  const address = (i: number): ResourceRecord => ({
    name,
    type: 1,
    class: 1,
    ttl: 5,
    data: { kind: "address", address: ip(`10.0.0.${i}`) },
  });
  const many = (answers: number, additionals: number): Message => ({
    ...query("big.prod.svc.cluster.local"),
    isResponse: true,
    answers: Array.from({ length: answers }, (_, i) => address(i)),
    additionals: Array.from({ length: additionals }, (_, i) => address(100 + i)),
    edns: { udpSize: 1232, version: 0, dnssecOk: false, options: [] },
  });

  test("drops the additional section without a word", () => {
    const message = decodeMessage(encodeWithin(many(20, 20), 512));
    expect(message).toEqual({ ...many(20, 0) });
  });

  test("sends with TC as many answers as fit, and nothing behind them", () => {
    const octets = encodeWithin(many(100, 1), 1232);
    const bare = 12 + name.length + 4 + 11;
    const fitting = Math.floor((1232 - bare) / 16);
    expect(decodeMessage(octets)).toEqual({ ...many(fitting, 0), truncated: true });
    expect(octets.length).toBe(bare + 16 * fitting);
  });

  test("leaves alone what fits to the octet", () => {
    const whole = encodeMessage(many(20, 0));
    expect(plain(encodeWithin(many(20, 0), whole.length))).toEqual(plain(whole));
  });

  test("throws RangeError for an rcode that has no room", () => {
    expect(() => encodeMessage({ ...query("a"), rcode: 16 })).toThrow(RangeError);
    expect(brandName("\0")).toBe(rootName);
  });
});
