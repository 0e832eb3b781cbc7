import { describe, expect, test } from "vitest";
import { aQuery } from "../test/dns/query.ts";
import { ClientRate } from "./clients/client-rate.ts";
import { SourceRate } from "./clients/source-rate.ts";
import { anyHandler } from "./handlers/any.ts";
import { clientShareHandler } from "./handlers/client-share.ts";
import { type Answer, authoritative, failure, type Query } from "./handlers/resolver.ts";
import { Rcode, RecordType } from "./message/message.ts";
import { SharedCounters } from "./observe/counters.ts";

describe("ClientRate", () => {
  test("answers so many a second, then slips one in eight, for each client by itself", () => {
    const rate = new ClientRate(3);
    const ask = (address: string, nowMs: number): string => rate.judge(address, nowMs);
    const first = Array.from({ length: 12 }, (_, i) => ask("10.244.1.1", i));
    expect(first.slice(0, 3)).toEqual(["answer", "answer", "answer"]);
    expect(first.slice(3)).toEqual(["slip", ...Array(7).fill("drop"), "slip"]);
    expect(ask("10.244.1.2", 12)).toBe("answer");
    expect(ask("10.244.1.1", 999)).toBe("drop");
    expect(ask("10.244.1.1", 1000)).toBe("answer");
  });

  test("has no limit at 0", () => {
    const rate = new ClientRate(0);
    expect(new Set(Array.from({ length: 100 }, () => rate.judge("a", 0)))).toEqual(
      new Set(["answer"]),
    );
  });

  test("remembers no more clients than its bound: made-up sources begin anew", () => {
    const rate = new ClientRate(1);
    rate.judge("victim", 0);
    for (let i = 0; i < 16_384; i++) rate.judge(String(i), 0);
    expect(rate.judge("victim", 0)).toBe("answer");
  });
});

describe("SourceRate", () => {
  // struct sockaddr_in: family, port, address, eight octets of nothing.
  const source = (address: string, port: number): Uint8Array =>
    Uint8Array.of(
      2,
      0,
      port >> 8,
      port & 0xff,
      ...address.split(".").map(Number),
      ...Array(8).fill(0),
    );
  const judge = (rate: SourceRate, address: string, nowMs: number, port = 40_000): string => {
    const memory = Uint8Array.of(0, 0, 0, ...source(address, port));
    return rate.judge(memory, 3, 16, nowMs);
  };

  test("does as ClientRate, whatever port a client asks from", () => {
    const [rate, same] = [new SourceRate(3, 7), new ClientRate(3)];
    for (let i = 0; i < 40; i++) {
      const nowMs = i * 40;
      expect(judge(rate, "10.244.1.1", nowMs, 1024 + i)).toBe(same.judge("10.244.1.1", nowMs));
    }
    expect(judge(rate, "10.244.1.1", 1500)).not.toBe("answer");
    expect(judge(rate, "10.244.1.2", 1500)).toBe("answer");
  });

  test("has no limit at 0", () => {
    const rate = new SourceRate(0, 7);
    expect(Array.from({ length: 100 }, () => judge(rate, "10.244.1.1", 0))).not.toContain("drop");
  });

  test("of a node's pods hardly two meet", () => {
    const rate = new SourceRate(1, 12_345);
    const answered = Array.from({ length: 250 }, (_, i) => judge(rate, `10.244.1.${i}`, 0));
    expect(answered.filter((verdict) => verdict !== "answer").length).toBeLessThan(30);
  });
});

describe("clientShareHandler()", () => {
  const from = (address: string): Query =>
    aQuery("a.example", 1, { client: { address, transport: "udp" } });

  test("lets a client wait for so many, and others wait as well", async () => {
    const counters = new SharedCounters();
    const handler = clientShareHandler(2, counters);
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const waiting = [handler(from("a"), () => promise), handler(from("a"), () => promise)];
    expect(handler(from("a"), () => promise)).toMatchObject({ rcode: 2, extendedError: 0 });
    expect(counters.read().rejected).toBe(1);
    expect(handler(from("b"), () => promise)).toBeInstanceOf(Promise);
    resolve(failure(Rcode.NXDOMAIN));
    for (const one of waiting) expect(await one).toMatchObject({ rcode: 3 });
    expect(await handler(from("a"), () => promise)).toMatchObject({ rcode: 3 });
  });

  test("however many wait for one question, another has its place", () => {
    const handler = clientShareHandler(256, new SharedCounters());
    const { promise } = Promise.withResolvers<Answer>();
    for (let n = 0; n < 100 * 256; n++) void handler(from(`greedy${n % 100}`), () => promise);
    expect(handler(from("greedy1"), () => promise)).toMatchObject({ rcode: 2 });
    expect(handler(from("modest"), () => promise)).toBeInstanceOf(Promise);
  });

  test("counts nothing that is there at once, and what fails no longer than it waits", async () => {
    const handler = clientShareHandler(1, new SharedCounters());
    for (let i = 0; i < 3; i++) {
      expect(handler(from("a"), () => failure(Rcode.NXDOMAIN))).toMatchObject({ rcode: 3 });
      const failing = handler(from("a"), () => Promise.reject(new Error("bug")));
      await expect(failing).rejects.toThrow("bug");
    }
  });
});

describe("anyHandler", () => {
  const ask = async (answer: Answer, type: number = RecordType.ANY): Promise<Answer> =>
    anyHandler(aQuery("web.example", type), () => answer);
  const soa = { ...aQuery("example").question, type: RecordType.SOA, ttl: 1 };

  test("gives something of a name that has no record of such a type", async () => {
    const authorities = [{ ...soa, data: { kind: "txt", strings: [] } as const }];
    const nodata = authoritative(Rcode.NOERROR, [], authorities);
    const { answers, authorities: left } = await ask(nodata);
    expect([answers.map(({ type }) => type), left]).toEqual([[RecordType.HINFO], []]);
    expect(await ask(nodata, RecordType.A)).toBe(nodata);
  });

  test("leaves failures and names that are missing", async () => {
    for (const rcode of [Rcode.NXDOMAIN, Rcode.SERVFAIL]) {
      expect(await ask(failure(rcode))).toMatchObject({ rcode, answers: [] });
    }
  });
});
