// What is negotiated beside the question: cookies, the server's name, a connection's time, errors that say
// more; and ANY. Octets against the real sockets.
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeMessage } from "../../dns/message/decode.ts";
import type { DnsServer } from "../../dns/server.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { ask, askUntil, startTestDns, testTarget } from "./test-server.ts";
import { framed, judged, queryOctets, sendTcp, sendUdp } from "./wire-client.ts";

const web = "web.prod.svc.cluster.local";
let server: DnsServer;
beforeAll(async () => {
  server = await startTestDns({ serverId: "node-a" });
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
});
afterAll(() => server[Symbol.asyncDispose]());

const send = async (packet: Uint8Array): Promise<Buffer> => {
  const answer = await sendUdp(testTarget, packet);
  if (answer === undefined) throw new Error("no answer");
  return answer;
};

const optionsOf = (answer: Buffer): (readonly [number, string])[] =>
  decodeMessage(answer).edns!.options.map(({ code, octets }) => [
    code,
    Buffer.from(octets).toString("hex"),
  ]);
const withOption = (code: number, octets: Buffer): Buffer =>
  queryOctets(web, "A", { edns: { options: [{ code, octets }] } });

test.each([7, 9, 15, 41])(
  "J23 a cookie of %i octets: FORMERR, and none is sent back",
  async (length) => {
    const answer = await send(withOption(10, Buffer.alloc(length, 1)));
    expect(judged(answer)).toMatchObject({ rcode: "FORMERR", hasOpt: true, answers: [] });
    expect(optionsOf(answer)).toEqual([]);
  },
);

test("who sends a cookie gets the server's with it, and the same one again (RFC 9018)", async () => {
  const client = "0102030405060708";
  const [[code, first] = []] = optionsOf(await send(withOption(10, Buffer.from(client, "hex"))));
  expect(code).toBe(10);
  expect(first).toMatch(new RegExp(`^${client}01000000[0-9a-f]{24}$`));
  const answer = await send(withOption(10, Buffer.from(first!, "hex")));
  expect(judged(answer).answers).toEqual(["A 10.96.1.1"]);
  expect(optionsOf(answer)).toEqual([[10, first]]);
  const forged = Buffer.from(first!, "hex");
  forged[20] = forged[20]! ^ 1;
  const [[, renewed] = []] = optionsOf(await send(withOption(10, forged)));
  expect(renewed).not.toBe(forged.toString("hex"));
});

test("a cookie can be had without a question (RFC 7873 section 5.4)", async () => {
  // An OPT record behind an empty header.
  const lone = Buffer.from(
    "abcd0100000000000000000100002904d000000000000c000a00080102030405060708",
    "hex",
  );
  const answer = await send(lone);
  expect([answer[3]! & 0x0f, answer.readUInt16BE(4)]).toEqual([0, 0]);
  expect(optionsOf(answer)[0]?.[1]).toMatch(/^0102030405060708/);
});

test("who asks for the server's name gets it; options that mean nothing here get nothing", async () => {
  expect(optionsOf(await send(withOption(3, Buffer.alloc(0))))).toEqual([
    [3, Buffer.from("node-a").toString("hex")],
  ]);
  expect(optionsOf(await send(withOption(8, Buffer.from("0001180000000000", "hex"))))).toEqual([]);
});

test("a connection's time is told over TCP, and over UDP not (RFC 7828)", async () => {
  const packet = withOption(11, Buffer.alloc(0));
  expect(optionsOf(await send(packet))).toEqual([]);
  const { answers } = await sendTcp(testTarget, [framed(packet)]);
  expect(optionsOf(answers[0]!)).toEqual([[11, "0064"]]);
});

test("ANY gets something small of a name that exists (RFC 8482)", async () => {
  expect((await ask(web, "ANY")).answers).toEqual(["HINFO"]);
  expect((await ask("prod.svc.cluster.local", "ANY")).answers).toEqual(["HINFO"]);
  expect((await ask("ext.prod.svc.cluster.local", "ANY")).answers).toEqual([
    "CNAME api.example.com",
  ]);
  expect(await ask("nosuch.prod.svc.cluster.local", "ANY")).toMatchObject({
    rcode: "NXDOMAIN",
    answers: [],
  });
});

test.each([
  ["AXFR", "IN", "REFUSED", 18],
  ["A", "CH", "REFUSED", 21],
  ["249", "IN", "NOTIMP", 21],
] as const)("%s of class %s: %s, with extended error %i", async (type, inClass, rcode, error) => {
  const answer = await send(queryOctets("cluster.local", type, { class: inClass, edns: {} }));
  expect(judged(answer)).toMatchObject({ rcode, extendedError: error });
});
