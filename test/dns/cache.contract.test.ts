// What is kept of upstreams' answers: the forwarder behind the cache, against upstreams that do what a
// script says, with a clock that the test steps.
import { randomInt } from "node:crypto";
import { describe, expect, test } from "vitest";
import { silentLog } from "../../core/log.ts";
import { cacheHandler } from "../../dns/handlers/cache-handler.ts";
import { defaultCacheSettings } from "../../dns/handlers/cache.ts";
import { type Answer, chain } from "../../dns/handlers/resolver.ts";
import { ExtendedError, Rcode, RecordType } from "../../dns/message/message.ts";
import { SharedCounters } from "../../dns/observe/counters.ts";
import { forwardHandler, type ForwardLimits } from "../../dns/upstream/forward.ts";
import { timeLived } from "../support/lived.ts";
import { aQuery } from "./query.ts";
import {
  a,
  cname,
  exampleWorld,
  reply,
  type Script,
  type ScriptedUpstream,
  soa,
  startUpstream,
} from "./scripted-upstream.ts";

interface Resolver {
  readonly ask: (name: string, type?: number) => Promise<Answer>;
  readonly counters: SharedCounters;
  readonly wait: (seconds: number) => void;
}

function resolver(upstream: ScriptedUpstream, limits: Partial<ForwardLimits> = {}): Resolver {
  const counters = new SharedCounters();
  let steppedMs = 0;
  const clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() + steppedMs };
  const cache = cacheHandler({ settings: defaultCacheSettings, clock, counters });
  const forward = forwardHandler({
    upstreams: [upstream.upstream],
    clock,
    random: { below: (limit) => randomInt(limit) },
    counters,
    log: silentLog,
    signal: new AbortController().signal,
    limits,
  });
  const resolve = chain([cache, forward]);
  return {
    ask: async (name, type = RecordType.A) => resolve(aQuery(name, type)),
    counters,
    wait: (seconds) => (steppedMs += seconds * 1000),
  };
}

const ttls = (answer: Answer): number[] =>
  [...answer.answers, ...answer.authorities].map(({ ttl }) => ttl);
const addresses = (answer: Answer): string[] =>
  answer.answers.map(({ data }) => (data.kind === "address" ? data.address : data.kind));

/** A world that goes silent, or fails, when told to. */
function fallible(script: Script): {
  script: Script;
  fail: (how: "silent" | "SERVFAIL" | "") => void;
} {
  let failing = "";
  return {
    script: (asked, self, client) => {
      if (failing === "silent") return [];
      return failing === "" ? script(asked, self, client) : [reply(asked.query, { rcode: 2 })];
    },
    fail: (how) => void (failing = how),
  };
}

describe("fresh answers", () => {
  test("K01 the second is from the cache, its TTL less by the time between", async () => {
    await using upstream = await startUpstream(exampleWorld);
    const { ask, wait, counters } = resolver(upstream);
    expect(ttls(await ask("api.example.com"))).toEqual([300]);
    wait(2);
    expect(ttls(await ask("api.example.com"))[0]).toBeLessThanOrEqual(299);
    expect(upstream.asked).toHaveLength(1);
    wait(300);
    await ask("api.example.com");
    expect(upstream.asked).toHaveLength(2);
    expect(counters.read().cache).toMatchObject({ hits: 1, misses: 2, entries: 1 });
  });

  test("K02 NXDOMAIN for the SOA's minimum", async () => {
    await using upstream = await startUpstream(exampleWorld);
    const { ask, wait } = resolver(upstream);
    await ask("nx.example.com");
    wait(50);
    const answer = await ask("nx.example.com");
    expect(answer.rcode).toBe(Rcode.NXDOMAIN);
    expect(ttls(answer)[0]).toBeLessThanOrEqual(10);
    expect(upstream.asked).toHaveLength(1);
    wait(10);
    await ask("nx.example.com");
    expect(upstream.asked).toHaveLength(2);
  });

  test("K04 NXDOMAIN holds for all types, NODATA for its own", async () => {
    await using upstream = await startUpstream(exampleWorld);
    const { ask } = resolver(upstream);
    await ask("nx.example.com");
    expect((await ask("nx.example.com", RecordType.TXT)).rcode).toBe(Rcode.NXDOMAIN);
    expect(upstream.asked).toHaveLength(1);
    await ask("v4only.example.com", RecordType.AAAA);
    expect(addresses(await ask("v4only.example.com"))).toEqual(["192.0.2.54"]);
    expect(upstream.asked).toHaveLength(3);
  });

  test("K06 TTL 0 is shared by who waits, and not kept", async () => {
    await using upstream = await startUpstream(({ query, name }) => [
      reply(query, { answers: [a(name, "192.0.2.1", 0)] }),
    ]);
    const { ask } = resolver(upstream);
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask("a.example")));
    expect(new Set(answers.flatMap(addresses))).toEqual(new Set(["192.0.2.1"]));
    expect(upstream.asked).toHaveLength(1);
    await ask("a.example");
    expect(upstream.asked).toHaveLength(2);
  });

  test("K07 30 days become an hour", async () => {
    await using upstream = await startUpstream(({ query, name }) => [
      reply(query, { answers: [a(name, "192.0.2.1", 2_592_000)] }),
    ]);
    const { ask } = resolver(upstream);
    await ask("a.example");
    expect(ttls(await ask("a.example"))).toEqual([3600]);
  });

  test("records of other names than asked come neither out nor in", async () => {
    await using upstream = await startUpstream(({ query, name }) => [
      reply(query, {
        answers: [
          a("bank.example", "6.6.6.6"),
          a("b.example", "192.0.2.2"),
          cname("bank.example", "evil.example"),
          { ...a("b.example", "192.0.2.66"), class: 3 },
          cname(name, "b.example"),
        ],
        authorities: [soa("other.example")],
      }),
    ]);
    const { ask } = resolver(upstream);
    for (const answer of [await ask("a.example"), await ask("a.example")]) {
      expect(addresses(answer)).toEqual(["name", "192.0.2.2"]);
      expect(answer.authorities).toEqual([]);
    }
    await ask("bank.example");
    expect(upstream.asked.map(({ name }) => name)).toEqual(["a.example", "bank.example"]);
  });

  test("what few asked for is not asked for again before its end", async () => {
    await using upstream = await startUpstream(exampleWorld);
    const { ask, wait, counters } = resolver(upstream);
    await ask("api.example.com");
    wait(280);
    // The second that is given from the cache, and three would be needed.
    for (let i = 0; i < 2; i++) await ask("api.example.com");
    expect(counters.read().cache.prefetches).toBe(0);
    expect(upstream.asked).toHaveLength(1);
    await ask("api.example.com");
    expect(counters.read().cache.prefetches).toBe(1);
  });

  test("what is in demand is asked for again before its end", async () => {
    await using upstream = await startUpstream(exampleWorld);
    const { ask, wait, counters } = resolver(upstream);
    for (let i = 0; i < 3; i++) await ask("api.example.com");
    wait(280);
    // From the cache still, and one query for all three.
    const last = await Promise.all([1, 2, 3].map(() => ask("api.example.com")));
    for (const answer of last) expect(ttls(answer)[0]).toBeLessThanOrEqual(20);
    await expect.poll(() => ttlOf(ask("api.example.com"))).toBeGreaterThan(290);
    expect(upstream.asked).toHaveLength(2);
    expect(counters.read().cache.prefetches).toBe(1);
  });
});

const ttlOf = async (answer: Promise<Answer>): Promise<number> => ttls(await answer)[0] ?? 0;

describe("upstreams that fail", () => {
  test("K20 past its TTL: the old answer with TTL 30 within 1.8 s", async () => {
    const world = fallible(exampleWorld);
    await using upstream = await startUpstream(world.script);
    const { ask, wait, counters } = resolver(upstream, { tryMs: 5000, totalMs: 5000 });
    await ask("api.example.com");
    await ask("nx.example.com");
    world.fail("silent");
    wait(310);
    const [[stale, elapsedMs], absent] = await Promise.all([
      timeLived(() => ask("api.example.com")),
      ask("nx.example.com"),
    ]);
    expect(stale).toMatchObject({ extendedError: ExtendedError.stale });
    expect(ttls(stale)).toEqual([30]);
    expect(addresses(stale)).toEqual(["192.0.2.53"]);
    expect(elapsedMs).toBeLessThan(2000);
    expect(absent).toMatchObject({ rcode: 3, extendedError: ExtendedError.staleNxdomain });
    expect(counters.read().cache.stale).toBe(2);
  });

  test("SERVFAIL does not take the old answer's place, and the new one does", async () => {
    const world = fallible(exampleWorld);
    await using upstream = await startUpstream(world.script);
    const { ask, wait } = resolver(upstream);
    await ask("api.example.com");
    world.fail("SERVFAIL");
    wait(310);
    expect(await ask("api.example.com")).toMatchObject({ rcode: 0, extendedError: 3 });
    // The failure is known: nobody is asked for a second.
    expect(await ask("api.example.com")).toMatchObject({ rcode: 0, extendedError: 3 });
    expect(upstream.asked).toHaveLength(2);
    world.fail("");
    wait(2);
    expect(ttls(await ask("api.example.com"))).toEqual([300]);
    wait(86_400 + 301);
    world.fail("SERVFAIL");
    expect((await ask("api.example.com")).rcode).toBe(Rcode.SERVFAIL);
  });

  test("a failure is kept for a second (RFC 9520)", async () => {
    const world = fallible(exampleWorld);
    world.fail("SERVFAIL");
    await using upstream = await startUpstream(world.script);
    const { ask, wait } = resolver(upstream);
    expect((await ask("api.example.com")).rcode).toBe(Rcode.SERVFAIL);
    expect(await ask("api.example.com")).toMatchObject({
      rcode: Rcode.SERVFAIL,
      extendedError: ExtendedError.cachedError,
    });
    expect(upstream.asked).toHaveLength(1);
    world.fail("");
    wait(1);
    expect((await ask("api.example.com")).rcode).toBe(Rcode.NOERROR);
  });

  test("having no place for a question is no failure of it", async () => {
    await using upstream = await startUpstream(exampleWorld);
    const { ask } = resolver(upstream, { maxOutstanding: 1 });
    const first = ask("api.example.com");
    expect((await ask("v4only.example.com")).rcode).toBe(Rcode.SERVFAIL);
    await first;
    expect((await ask("v4only.example.com")).rcode).toBe(Rcode.NOERROR);
  });
});
