import { expect, test } from "vitest";
import { aQuery } from "../../test/dns/query.ts";
import { ip } from "../../test/support/builders.ts";
import { Rcode, RecordType } from "../message/message.ts";
import { formatName, parseName } from "../message/name.ts";
import { hostsHandler } from "./local-names.ts";
import { type Answer, authoritative, failure } from "./resolver.ts";
import { rewriteHandler } from "./rewrite.ts";
import { routeHandler } from "./route.ts";
import { siteNamesOf } from "./site-names.ts";

const site = siteNamesOf({
  stubs: {
    example: [],
    "corp.example": [],
  },
  hosts: { "a.example": [ip("192.0.2.1"), ip("2001:db8::1")], "b.example": [ip("192.0.2.1")] },
  rewrite: {
    "old.example": "new.example",
    "*.old.example": "*.far.new.example",
    "*.deep.old.example": "*.x",
    "deep.old.example": "y",
    "*.bare.example": "*.z",
  },
  ttls: { "corp.example": 60, "lab.corp.example": 5 },
});

test("a rewritten name is asked for as another, and answered as itself", async () => {
  const asked: string[] = [];
  const handler = rewriteHandler(site.rewrites);
  const ask = async (name: string): Promise<string[]> => {
    const answer = await handler(aQuery(name), ({ question }) => {
      asked.push(formatName(question.name));
      const target = { kind: "name", name: parseName("t.example")! } as const;
      const cname = { ...question, type: RecordType.CNAME, ttl: 1, data: target };
      const address = { kind: "address", address: ip("192.0.2.1") } as const;
      const a = { name: target.name, type: 1, class: 1, ttl: 1, data: address };
      return Promise.resolve(authoritative(Rcode.NOERROR, [cname, a]));
    });
    return answer.answers.map((record) => formatName(record.name));
  };
  for (const name of ["OLD.example", "a.B.old.example", "z.deep.old.example", "deep.old.example"]) {
    expect(await ask(name)).toEqual([name, "t.example"]);
  }
  expect(asked).toEqual(["new.example", "a.b.far.new.example", "z.x", "y"]);
  for (const name of ["xold.example", "bare.example"]) {
    await ask(name);
    expect(asked.at(-1)).toBe(name);
  }
});

test("hosts have addresses, a first name for each address, and no other type", async () => {
  const handler = hostsHandler(site.hosts, 5);
  const ask = async (name: string, type: number): Promise<Answer> =>
    handler(aQuery(name, type), () => failure(99));
  const data = ({ answers }: Answer): unknown[] => answers.map((record) => record.data);
  expect(data(await ask("A.example", 1))).toEqual([{ kind: "address", address: "192.0.2.1" }]);
  expect(data(await ask("a.example", 28))).toEqual([{ kind: "address", address: "2001:db8::1" }]);
  expect(data(await ask("1.2.0.192.in-addr.arpa", RecordType.PTR))).toEqual([
    { kind: "name", name: parseName("a.example") },
  ]);
  const nodata = await ask("b.example", 28);
  expect([nodata.rcode, nodata.answers, nodata.authorities.length]).toEqual([0, [], 1]);
  expect((await ask("c.example", 1)).rcode).toBe(99);
  expect((await ask("x.a.example", 1)).rcode).toBe(99);
});

test("K28 the most specific domain counts, on label borders", async () => {
  const routes = site.stubs.map(({ domain }, i) => ({ domain, resolve: () => failure(50 + i) }));
  const ask = async (name: string): Promise<number> =>
    (await routeHandler(routes)(aQuery(name), () => failure(99))).rcode;
  expect(await ask("a.Corp.example")).toBe(51);
  expect(await ask("corp.example")).toBe(51);
  expect(await ask("xcorp.example")).toBe(50);
  expect(await ask("xexample")).toBe(99);
});
