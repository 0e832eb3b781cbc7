// Sockets that outlive a resolver: another takes them, or the same process's next one.
import { describe, expect, test } from "vitest";
import { systemCalls } from "../../kernel/ffi.ts";
import { listeningSocketOf } from "../../kernel/listening-socket.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { until } from "./forwarder.ts";
import { a, reply, startUpstream } from "./scripted-upstream.ts";
import { ask, ownAddress, startTestDns, testPort, testTarget } from "./test-server.ts";
import { queryOctets, sendUdp } from "./wire-client.ts";

const web = "web.prod.svc.cluster.local";

test("with a snapshot given, the first answer already goes by it", async () => {
  await using _server = await startTestDns({ snapshot: fixtureSnapshot() });
  expect((await ask(web, "A")).answers).toEqual(["A 10.96.1.1"]);
});

test("sockets() are those of the address, over UDP and TCP", async () => {
  let told = 0;
  await using server = await startTestDns({ onSockets: () => told++ });
  const found = server.sockets().map((fd) => listeningSocketOf(fd));
  const where = { address: ownAddress(1), port: testPort };
  expect(found.toSorted((one, two) => one!.transport.localeCompare(two!.transport))).toMatchObject([
    { transport: "tcp", ...where },
    { transport: "udp", ...where },
  ]);
  expect(told).toBeGreaterThan(0);
});

describe("a resolver that stops", () => {
  test("answers what waits for an upstream", async () => {
    const answer = Promise.withResolvers<void>();
    await using upstream = await startUpstream((asked, self, client) => {
      const { query, name } = asked;
      void answer.promise.then(async () => {
        const { encodeMessage } = await import("../../dns/message/encode.ts");
        const octets = encodeMessage(reply(query, { answers: [a(name, "192.0.2.1")] }));
        self.udp.send(octets, client!.port, client!.address);
      });
      return [];
    });
    const server = await startTestDns({ upstreams: [upstream.upstream] });
    const asking = ask("slow.example", "A");
    await until(() => upstream.asked.length === 1, "the upstream is asked");
    server.noteSuccessor();
    const udp = server.sockets().find((fd) => listeningSocketOf(fd)?.transport === "udp");
    const stopped = server[Symbol.asyncDispose]();
    // What comes now is another's: it stays in the socket, all of it.
    const octets = Buffer.alloc(1500);
    const isLeft = async (): Promise<boolean> => {
      void sendUdp(testTarget, queryOctets("later.example", "A"), 10);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return systemCalls.recv(udp!, octets, 0x40) > 0;
    };
    const left: boolean[] = [];
    const isAll = (): boolean => left.length >= 5 && left.slice(-5).every(Boolean);
    while (left.length < 40 && !isAll()) left.push(await isLeft());
    expect(left.slice(-5)).toEqual([true, true, true, true, true]);
    answer.resolve();
    expect((await asking).answers).toEqual(["A 192.0.2.1"]);
    await stopped;
  });
});
