import { describe, expect, test } from "vitest";
import { prodSearch } from "../../test/dns/pods.ts";
import { aQuery } from "../../test/dns/query.ts";
import { ip } from "../../test/support/builders.ts";
import type { SearchPath } from "../cluster/pod-directory.ts";
import { Rcode, RecordType } from "../message/message.ts";
import { foldName, formatName, parseName } from "../message/name.ts";
import { SharedCounters } from "../observe/counters.ts";
import { type Answer, authoritative, failure, type Query, type Resolve } from "./resolver.ts";
import { candidatesOf, searchWalkHandler } from "./search-walk.ts";

const path: SearchPath = {
  ndots: 5,
  domains: [...prodSearch.domains, "corp.example"].map((domain) => parseName(domain)!),
};

describe("candidatesOf()", () => {
  const candidates = (name: string, more: Partial<SearchPath> = {}): string[] =>
    candidatesOf(parseName(name)!, { ...path, ...more }).map(formatName);

  test("are the other domains in their order, and the name itself, spelled as asked", () => {
    expect(candidates("Www.example.COM.prod.SVC.cluster.local")).toEqual([
      "Www.example.COM.svc.cluster.local",
      "Www.example.COM.cluster.local",
      "Www.example.COM.corp.example",
      "Www.example.COM",
    ]);
  });

  test("leave out the name itself where the pod has tried it before", () => {
    const below = "a.b.prod.svc.cluster.local";
    expect(candidates(below, { ndots: 1 })).not.toContain("a.b");
    expect(candidates(below, { ndots: 2 })).toContain("a.b");
  });

  test.each(["prod.svc.cluster.local", "web.dev.svc.cluster.local", "www.example.com"])(
    "there are none for %s, which is no first question",
    (name) => expect(candidates(name)).toEqual([]),
  );

  test("leave out what becomes too long", () => {
    const long = Array.from({ length: 3 }, () => "x".repeat(63)).join(".");
    const most = `${long}.${"y".repeat(253 - 192 - 23)}`;
    expect(candidates(`${most}.prod.svc.cluster.local`, { domains: [path.domains[0]!] })).toEqual([
      most,
    ]);
    const longer = [parseName("prod.svc.cluster.local")!, parseName(`z.${"w".repeat(40)}`)!];
    expect(candidates(`${most}.prod.svc.cluster.local`, { domains: longer })).toEqual([most]);
  });
});

/** Answers from a table of rcodes by name, and remembers what it was asked. */
function world(rcodes: Readonly<Record<string, number | Promise<Answer>>>): {
  next: Resolve;
  asked: string[];
} {
  const asked: string[] = [];
  return {
    asked,
    next: ({ question }) => {
      const name = formatName(question.name);
      asked.push(name);
      const found = rcodes[name.toLowerCase()] ?? Rcode.NXDOMAIN;
      if (typeof found !== "number") return found;
      if (found !== Rcode.NOERROR) return { ...failure(found), authoritative: true };
      const data = { kind: "address", address: ip("192.0.2.1") } as const;
      return authoritative(
        found,
        question.type === RecordType.A ? [{ ...question, ttl: 60, data }] : [],
      );
    },
  };
}

describe("searchWalkHandler()", () => {
  const first = "www.example.com.prod.svc.cluster.local";
  const ask = async (
    rcodes: Readonly<Record<string, number | Promise<Answer>>>,
    query: Query = aQuery(first),
    waitMs = 10_000,
  ): Promise<{ answers: string[]; rcode: number; asked: string[]; walks: number }> => {
    const counters = new SharedCounters();
    const pods = {
      searchPathOf: (address: string) => (address === "10.244.1.7" ? path : undefined),
    };
    const { next, asked } = world(rcodes);
    const answer = await searchWalkHandler({ pods, ttl: 5, counters, waitMs })(query, next);
    const answers = answer.answers.map(({ name, data }) =>
      data.kind === "name"
        ? `${formatName(name)} = ${formatName(data.name)}`
        : `${formatName(foldName(name))} ${data.kind}`,
    );
    return { answers, rcode: answer.rcode, asked, walks: counters.read().searchWalks };
  };

  test("answers with the first that exists, behind an alias", async () => {
    const found = await ask({ "www.example.com": 0 });
    expect(found).toMatchObject({ rcode: 0, walks: 1 });
    expect(found.answers).toEqual([`${first} = www.example.com`, "www.example.com address"]);
    const earlier = await ask({ "www.example.com.cluster.local": 0, "www.example.com": 0 });
    expect(earlier.answers[0]).toBe(`${first} = www.example.com.cluster.local`);
    expect(earlier.asked).not.toContain("www.example.com");
  });

  test("stops at a name that has another type only: A and AAAA lead to the same", async () => {
    const rcodes = { "www.example.com.corp.example": 0, "www.example.com": 0 };
    const found = await ask(rcodes, aQuery(first, RecordType.AAAA));
    expect(found).toMatchObject({ rcode: 0 });
    expect(found.answers).toEqual([`${first} = www.example.com.corp.example`]);
  });

  test("leaves the first answer when there is nothing, or it cannot be known", async () => {
    for (const rcodes of [{}, { "www.example.com.corp.example": 2, "www.example.com": 0 }]) {
      expect(await ask(rcodes)).toMatchObject({ rcode: Rcode.NXDOMAIN, answers: [], walks: 0 });
    }
  });

  test("leaves the first answer when the walk takes too long", async () => {
    const silent = { "www.example.com": new Promise<Answer>(() => {}) };
    expect(await ask(silent, aQuery(first), 20)).toMatchObject({ rcode: 3, answers: [] });
  });

  test("waits for what is on its way, and goes on behind it", async () => {
    const late = Promise.resolve({ ...failure(Rcode.NXDOMAIN), authoritative: false });
    const found = await ask({ "www.example.com.corp.example": late, "www.example.com": 0 });
    expect(found.answers[0]).toBe(`${first} = www.example.com`);
  });

  test.each<[string, Query]>([
    ["another client", aQuery(first, 1, { client: { address: "10.244.9.9", transport: "udp" } })],
    ["RD=0", aQuery(first, 1, { recursionDesired: false })],
    ["another type", aQuery(first, RecordType.SRV)],
  ])("asks nothing more for %s", async (_what, query) => {
    expect(await ask({ "www.example.com": 0 }, query)).toMatchObject({ rcode: 3, asked: [first] });
  });

  test("asks nothing more when the first exists or is not known", async () => {
    expect((await ask({ [first]: 0 })).asked).toEqual([first]);
    expect(await ask({ [first]: 2 })).toMatchObject({ rcode: 2, asked: [first] });
  });
});
