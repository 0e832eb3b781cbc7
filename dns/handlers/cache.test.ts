import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aQuery } from "../../test/dns/query.ts";
import { ip } from "../../test/support/builders.ts";
import { Rcode, RecordType, type ResourceRecord } from "../message/message.ts";
import { parseName } from "../message/name.ts";
import { agedAnswer, AnswerCache, type CacheSettings, defaultCacheSettings } from "./cache.ts";
import type { Answer, Query } from "./resolver.ts";

const a = (name: string, ttl: number): ResourceRecord => ({
  name: parseName(name)!,
  type: RecordType.A,
  class: 1,
  ttl,
  data: { kind: "address", address: ip("192.0.2.1") },
});
const cname = (name: string, target: string, ttl: number): ResourceRecord => ({
  ...a(name, ttl),
  type: RecordType.CNAME,
  data: { kind: "name", name: parseName(target)! },
});
const soa = (zone: string, ttl: number, minimum: number): ResourceRecord => {
  const name = parseName(zone)!;
  const times = { serial: 1, refresh: 1, retry: 1, expire: 1, minimum };
  return {
    ...a(zone, ttl),
    type: RecordType.SOA,
    data: { kind: "soa", primary: name, mailbox: name, ...times },
  };
};
const answer = (more: Partial<Answer>): Answer => ({
  rcode: Rcode.NOERROR,
  authoritative: false,
  answers: [],
  authorities: [],
  additionals: [],
  ...more,
});
const cacheWith = (more: Partial<CacheSettings> = {}): AnswerCache =>
  new AnswerCache({ ...defaultCacheSettings, ...more });
/** Seconds for which the cache takes the answer for fresh, found by asking. */
const life = (asked: Query, stored: Answer, more: Partial<CacheSettings> = {}): number => {
  const cache = cacheWith(more);
  cache.store(asked, stored, 0);
  for (let seconds = 0; seconds < 100_000; seconds++) {
    if (cache.find(asked, seconds * 1000)?.isStale !== false) return seconds;
  }
  return Infinity;
};

describe("how long an answer is kept", () => {
  const www = aQuery("www.example");
  const nodata = (ttl: number, minimum: number): Answer =>
    answer({ authorities: [soa("example", ttl, minimum)] });
  test.each<[string, Answer, number]>([
    ["its TTL", answer({ answers: [a("www.example", 300)] }), 300],
    ["its least TTL", answer({ answers: [a("www.example", 300), a("www.example", 7)] }), 7],
    [
      "the link's TTL",
      answer({ answers: [cname("www.example", "x.example", 5), a("x.example", 60)] }),
      5,
    ],
    ["not at all with TTL 0", answer({ answers: [a("www.example", 0)] }), 0],
    ["an hour at the most", answer({ answers: [a("www.example", 2_592_000)] }), 3600],
    ["the SOA's minimum", nodata(900, 60), 60],
    ["the SOA's TTL", nodata(30, 60), 30],
    ["half an hour at the most without a record", nodata(90_000, 90_000), 1800],
    ["not at all without SOA", answer({}), 0],
    ["not at all with another zone's SOA", answer({ authorities: [soa("other", 60, 60)] }), 0],
    [
      "not at all when the chain leads nowhere",
      answer({ answers: [cname("www.example", "x.example", 60)] }),
      0,
    ],
    ["not at all with SERVFAIL", answer({ rcode: 2, authorities: [soa("example", 60, 60)] }), 0],
  ])("%s", (_, stored, seconds) => {
    expect(life(www, stored)).toBe(seconds);
  });

  test("the least TTL lengthens also what would not be kept", () => {
    const short = answer({ answers: [a("www.example", 0)] });
    expect(life(www, short, { minTtl: 5 })).toBe(5);
  });
});

describe("what is found", () => {
  test("the TTL counts down, for all records, and never reaches 0 within its time", () => {
    const cache = cacheWith();
    const asked = aQuery("www.example");
    const chain = [cname("www.example", "x.example", 60), a("x.example", 10)];
    cache.store(asked, answer({ answers: chain }), 1000);
    const at = (nowMs: number): number[] =>
      agedAnswer(asked, cache.find(asked, nowMs)!, nowMs).answers.map(({ ttl }) => ttl);
    expect(at(1000)).toEqual([10, 10]);
    expect(at(4000)).toEqual([7, 7]);
    expect(at(10_999)).toEqual([1, 1]);
    expect(at(11_000)).toEqual([30, 30]);
    expect(cache.find(asked, 11_000)!.isStale).toBe(true);
    expect(cache.find(asked, 11_000 + 86_400_000)).toBeUndefined();
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });

  test("the asker's spelling, whoever asked first", () => {
    const cache = cacheWith();
    cache.store(aQuery("WWW.example"), answer({ answers: [a("WWW.example", 60)] }), 0);
    const asked = aQuery("www.EXAMPLE");
    const { answers } = agedAnswer(asked, cache.find(asked, 0)!, 0);
    expect(answers.map(({ name }) => name)).toEqual([asked.question.name]);
  });

  test("type, DO and CD are apart; a name that does not exist has no type", () => {
    const cache = cacheWith();
    const asked = aQuery("www.example");
    cache.store(asked, answer({ answers: [a("www.example", 60)] }), 0);
    expect(cache.find(aQuery("www.example", RecordType.AAAA), 0)).toBeUndefined();
    expect(cache.find({ ...asked, dnssecOk: true }, 0)).toBeUndefined();
    expect(cache.find({ ...asked, checkingDisabled: true }, 0)).toBeUndefined();
    const absent = answer({ rcode: Rcode.NXDOMAIN, authorities: [soa("example", 60, 60)] });
    cache.store(aQuery("no.example"), absent, 0);
    expect(cache.find(aQuery("no.example", RecordType.TXT), 0)?.isStale).toBe(false);
    expect(cache.find(aQuery("x.no.example"), 0)).toBeUndefined();
    // It has been made since.
    const text = aQuery("no.example", RecordType.A);
    cache.store(text, answer({ answers: [a("no.example", 60)] }), 1);
    expect(cache.find(text, 2)?.entry.answer.rcode).toBe(Rcode.NOERROR);
    expect(cache.find(aQuery("no.example", RecordType.TXT), 2)).toBeUndefined();
  });

  test("behind a link it is the target that does not exist", () => {
    const cache = cacheWith();
    const answers = [cname("www.example", "no.example", 60)];
    const authorities = [soa("example", 60, 60)];
    cache.store(aQuery("www.example"), answer({ rcode: 3, answers, authorities }), 0);
    expect(cache.find(aQuery("www.example"), 0)?.isStale).toBe(false);
    expect(cache.find(aQuery("www.example", RecordType.CNAME), 0)).toBeUndefined();
  });

  test("a failure for a second, twice as long each time, half a minute at the most", () => {
    const cache = cacheWith();
    const asked = aQuery("www.example");
    const lengths: number[] = [];
    for (let nowMs = 0, i = 0; i < 7; i++) {
      cache.storeFailure(asked, Rcode.SERVFAIL, nowMs);
      const fromMs = nowMs;
      while (cache.findFailure(asked, nowMs) === Rcode.SERVFAIL) nowMs += 500;
      lengths.push(nowMs - fromMs);
    }
    expect(lengths).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    cache.store(asked, answer({ answers: [a("www.example", 60)] }), 0);
    expect(cache.findFailure(asked, 0)).toBeUndefined();
  });
});

describe("whatever is stored in whatever order", () => {
  const step = fc.record({
    name: fc.integer({ min: 0, max: 30 }).map((n) => `n${n}.example`),
    ttl: fc.integer({ min: 0, max: 40 }),
    records: fc.integer({ min: 1, max: 5 }),
    isNegative: fc.boolean(),
    laterMs: fc.integer({ min: 0, max: 20_000 }),
  });

  test("never more than the bound, nothing of use past its time, the newest answer", () => {
    const maxBytes = 6000;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const cache = cacheWith({ maxBytes, maxStale: 10 });
        const endsAtMs = new Map<string, number>();
        let nowMs = 0;
        for (const { name, ttl, records, isNegative, laterMs } of steps) {
          nowMs += laterMs;
          const answers = Array.from({ length: records }, () => a(name, ttl));
          const absent = { rcode: Rcode.NXDOMAIN, authorities: [soa("example", ttl, ttl)] };
          cache.store(aQuery(name), answer(isNegative ? absent : { answers }), nowMs);
          endsAtMs.set(name, nowMs + ttl * 1000);
          expect(cache.bytes).toBeLessThanOrEqual(maxBytes);
          for (const [known, endMs] of endsAtMs) {
            const found = cache.find(aQuery(known), nowMs);
            if (found === undefined) continue;
            expect(found.isStale).toBe(nowMs >= endMs);
            expect(nowMs).toBeLessThan(endMs + 10_000);
            const leftMs = found.isStale ? 30_000 : endMs - nowMs;
            const aged = agedAnswer(aQuery(known), found, nowMs);
            for (const record of [...aged.answers, ...aged.authorities]) {
              expect(record.ttl).toBeLessThanOrEqual(Math.ceil(leftMs / 1000));
              expect(record.ttl).toBeGreaterThan(0);
            }
          }
        }
        if (cache.size === 0) expect(cache.bytes).toBe(0);
      }),
    );
  });

  test("who was used longest ago leaves first", () => {
    const store = (cache: AnswerCache, name: string): void =>
      cache.store(aQuery(name), answer({ answers: [a(name, 60)] }), 0);
    const one = cacheWith();
    store(one, "a.example");
    const cache = cacheWith({ maxBytes: 2 * one.bytes });
    store(cache, "a.example");
    store(cache, "b.example");
    cache.find(aQuery("a.example"), 0);
    store(cache, "c.example");
    const isThere = (name: string): boolean => cache.find(aQuery(name), 0) !== undefined;
    expect(["a.example", "b.example", "c.example"].map(isThere)).toEqual([true, false, true]);
    expect(cache.evictions).toBe(1);
  });
});
