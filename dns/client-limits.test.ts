import { describe, expect, test } from "vitest";
import { aQuery } from "../test/dns/query.ts";
import { anyHandler } from "./any.ts";
import { ClientRate } from "./client-rate.ts";
import { clientShareHandler } from "./client-share.ts";
import { Rcode, RecordType } from "./message.ts";
import { type Answer, authoritative, failure, type Query } from "./resolver.ts";

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

describe("clientShareHandler()", () => {
  const from = (address: string): Query =>
    aQuery("a.example", 1, { client: { address, transport: "udp" } });

  test("lets a client wait for so many, and others wait as well", async () => {
    const handler = clientShareHandler(2);
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const waiting = [handler(from("a"), () => promise), handler(from("a"), () => promise)];
    expect(handler(from("a"), () => promise)).toMatchObject({ rcode: 2, extendedError: 0 });
    expect(handler(from("b"), () => promise)).toBeInstanceOf(Promise);
    resolve(failure(Rcode.NXDOMAIN));
    for (const one of waiting) expect(await one).toMatchObject({ rcode: 3 });
    expect(await handler(from("a"), () => promise)).toMatchObject({ rcode: 3 });
  });

  test("counts nothing that is there at once, and what fails no longer than it waits", async () => {
    const handler = clientShareHandler(1);
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
