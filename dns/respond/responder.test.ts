import { describe, expect, test } from "vitest";
import { silentLog } from "../../core/log.ts";
import { judged, queryOctets } from "../../test/dns/wire-client.ts";
import { cidr } from "../../test/support/builders.ts";
import { clientFilter } from "../clients/client-filter.ts";
import { chain, failure, type Query, type Resolve } from "../handlers/resolver.ts";
import { specialNames } from "../handlers/special-names.ts";
import { Rcode } from "../message/message.ts";
import { SharedCounters } from "../observe/counters.ts";
import { createResponder, type Responder } from "./responder.ts";

const client = { address: "10.244.1.7", transport: "udp" } as const;

function responderOf(resolve: Resolve): { respond: Responder; counters: SharedCounters } {
  const counters = new SharedCounters();
  const isAllowed = clientFilter([cidr("10.244.0.0/16")]);
  return {
    respond: createResponder({ resolve, isAllowed, counters, log: silentLog }),
    counters,
  };
}

describe("createResponder()", () => {
  test.each<[string, Resolve]>([
    [
      "throws",
      () => {
        throw new Error("bug");
      },
    ],
    ["rejects", () => Promise.reject(new Error("bug"))],
  ])("answers SERVFAIL and counts when a handler %s", async (_what, resolve) => {
    const { respond, counters } = responderOf(resolve);
    const octets = await respond(queryOctets("a.example", "A"), client);
    expect(octets && judged(octets).rcode).toBe("SERVFAIL");
    expect(counters.read()).toMatchObject({ errors: 1, responses: { SERVFAIL: 1 } });
  });

  test("tells an extended error only to who sent an OPT", async () => {
    const { respond } = responderOf(() => failure(Rcode.SERVFAIL, 14));
    const told = await respond(queryOctets("a.example", "A", { edns: {} }), client);
    expect(told && judged(told).extendedError).toBe(14);
    const untold = await respond(queryOctets("a.example", "A"), client);
    expect(untold && judged(untold)).toMatchObject({ hasOpt: false, rcode: "SERVFAIL" });
  });

  test.each(["udp", "tcp"] as const)("hands on who asks, over %s", async (transport) => {
    const asked: Query[] = [];
    const { respond } = responderOf((query) => {
      asked.push(query);
      return failure(Rcode.NXDOMAIN);
    });
    await respond(queryOctets("a.example", "A"), { address: "10.244.1.7", transport });
    expect(asked.map((query) => query.client)).toEqual([{ address: "10.244.1.7", transport }]);
  });

  // QR, opcode, AA, TC, RD; RA, Z, AD, CD, rcode.
  test.each([
    ["as they are", 0x0100, 0x8180],
    ["RD and CD as the query has them", 0x0010, 0x8090],
    ["AD and Z as nobody here says them", 0x0160, 0x8180],
    ["what only an answer may have not from the query", 0x0780, 0x8180],
  ])("answers with flags: %s", async (_what, asked, wanted) => {
    const query = queryOctets("a.example", "A");
    query.writeUInt16BE(asked, 2);
    const { respond } = responderOf(() => failure(Rcode.NOERROR));
    const octets = Buffer.from((await respond(query, client))!);
    expect(octets.readUInt16BE(2).toString(16)).toBe(wanted.toString(16));
  });

  test.each([
    [251, "REFUSED"],
    [252, "REFUSED"],
    [249, "NOTIMP"],
    [250, "NOTIMP"],
    [253, "NOTIMP"],
    [254, "NOTIMP"],
    [0, "FORMERR"],
    [41, "FORMERR"],
  ])("asks nobody for type %i: %s", async (type, rcode) => {
    const { respond } = responderOf(() => {
      throw new Error("it was asked");
    });
    const octets = await respond(queryOctets("a.example", String(type)), client);
    expect(octets && judged(octets)).toMatchObject({ rcode, answers: [] });
  });

  test("gives a stranger no answer without a question", () => {
    const { respond, counters } = responderOf(() => failure(Rcode.SERVFAIL));
    const header = queryOctets("a.example", "A").subarray(0, 12);
    expect(respond(header, { ...client, address: "10.245.0.1" })).toBeUndefined();
    expect(counters.read()).toMatchObject({ refused: 1, dropped: 1 });
  });
});

describe("clientFilter()", () => {
  test("takes networks of both families, and link-local addresses with their device", () => {
    const isAllowed = clientFilter([cidr("10.244.0.0/16"), cidr("fd00::/16"), cidr("fe80::/10")]);
    const asked = ["10.244.255.255", "10.245.0.0", "fd00::1", "fd01::1", "fe80::1%eth0"];
    // Twice: the second time it is remembered.
    for (let i = 0; i < 2; i++) {
      expect(asked.map(isAllowed)).toEqual([true, false, true, false, true]);
    }
  });
});

describe("specialNames()", () => {
  const resolve = (hasUpstreams: boolean): Resolve => chain([specialNames(hasUpstreams)]);
  const answer = async (name: string, type: string, hasUpstreams = true): Promise<string> => {
    const { respond } = responderOf(resolve(hasUpstreams));
    const octets = await respond(queryOctets(name, type), client);
    const { rcode, answers, authorities } = judged(octets!);
    return [rcode, ...answers, ...authorities].join(" ");
  };

  test.each([
    ["localhost", "A", "NOERROR A 127.0.0.1"],
    ["x.y.LocalHost", "AAAA", "NOERROR AAAA ::1"],
    ["localhost", "MX", "NOERROR SOA"],
    ["notlocalhost", "A", "REFUSED"],
    ["a.invalid", "A", "NXDOMAIN SOA"],
    ["invalid", "A", "NOERROR SOA"],
    ["x.onion", "A", "NXDOMAIN SOA"],
    ["1.0.0.127.in-addr.arpa", "PTR", "NOERROR PTR localhost"],
    ["1.0.0.127.in-addr.arpa", "A", "NOERROR SOA"],
    ["2.0.0.127.in-addr.arpa", "PTR", "NXDOMAIN SOA"],
    ["1.2.0.192.in-addr.arpa", "PTR", "NXDOMAIN SOA"],
    ["1.0.0.10.in-addr.arpa", "PTR", "REFUSED"],
  ])("answers %s %s with %s", async (name, type, expected) => {
    expect(await answer(name, type)).toBe(expected);
  });

  test("answers private reverse names only where no upstream could", async () => {
    expect(await answer("1.0.0.10.in-addr.arpa", "PTR", false)).toBe("NXDOMAIN SOA");
  });
});
