// Where answers come from, asked over the daemon's socket of a real resolver.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatReply } from "../../cli/dns/query.ts";
import { silentLog } from "../../core/log.ts";
import {
  type DnsQueryReply,
  type DnsQuestion,
  serveDnsQueries,
} from "../../daemon/dns/dns-queries.ts";
import { PodBook } from "../../dns/cluster/pod-book.ts";
import { siteNamesOf } from "../../dns/handlers/site-names.ts";
import { ip } from "../support/builders.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { aPod } from "./pods.ts";
import { exampleWorld, type ScriptedUpstream, startUpstream } from "./scripted-upstream.ts";
import { askUntil, startTestDns } from "./test-server.ts";

const held = new AsyncDisposableStack();
let directory: string;
let path: string;
let upstream: ScriptedUpstream;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-explain-"));
  held.defer(() => rmSync(directory, { recursive: true }));
  path = join(directory, "dns.sock");
  upstream = held.use(await startUpstream(exampleWorld));
  const book = new PodBook();
  await book.announce(aPod("web-0", "127.0.0.1"));
  await book.announce(aPod("twin", "127.0.0.2", { id: "1" }));
  await book.announce(
    aPod("twin", "127.0.0.3", { id: "2", pod: { namespace: "dev", name: "twin" } }),
  );
  const site = siteNamesOf({
    stubs: {
      "corp.example": [upstream.upstream],
      "gone.example": [{ address: ip("127.0.0.1"), port: 1, tls: {} }],
    },
    hosts: { "printer.example": [ip("192.0.2.7")] },
    rewrite: { "old.example": "web.prod.svc.cluster.local" },
    ttls: {},
  });
  const server = held.use(
    await startTestDns({ upstreams: [upstream.upstream], podBook: book, site }),
  );
  server.publish(fixtureSnapshot());
  await askUntil("web.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
  held.use(await serveDnsQueries({ path, server, book, own: [ip("127.0.0.9")], log: silentLog }));
});
afterAll(() => held.disposeAsync());

async function raw(line: string): Promise<DnsQueryReply> {
  const socket = connect(path);
  socket.write(line);
  return JSON.parse(await text(socket)) as DnsQueryReply;
}
const ask = (name: string, more: Partial<DnsQuestion> = {}): Promise<DnsQueryReply> =>
  raw(`${JSON.stringify({ name, type: "A", ...more })}\n`);

/** Who had a part, and what they did, without times. */
const stepsOf = ({ explanation }: DnsQueryReply): string[] =>
  explanation!.steps.map(({ by, name, askedNext, rcode, of }) =>
    [by, name, ...(askedNext ? [`→ ${askedNext}`] : []), of, rcode].filter(Boolean).join(" "),
  );

describe("an explanation", () => {
  test("of a name of the cluster, and of an absent one", async () => {
    const web = await ask("web.prod.svc.cluster.local.");
    expect(web.explanation).toMatchObject({
      rcode: "NOERROR",
      isAuthoritative: true,
      mayAsk: true,
      answers: ["web.prod.svc.cluster.local. 30 A 10.96.1.1"],
    });
    expect(web.asker).toEqual({ address: "127.0.0.9" });
    expect(stepsOf(web)).toEqual(["zone web.prod.svc.cluster.local NOERROR"]);
    const absent = await ask("nosuch.prod.svc.cluster.local", { type: "aaaa" });
    expect(absent.explanation).toMatchObject({ type: "AAAA", rcode: "NXDOMAIN", answers: [] });
    expect(absent.explanation?.authorities[0]).toMatch(/^cluster\.local\. 30 SOA /);
  });

  test("of what the site's configuration adds", async () => {
    expect(stepsOf(await ask("old.example"))).toEqual([
      "rewrite old.example → web.prod.svc.cluster.local",
      "zone web.prod.svc.cluster.local NOERROR",
    ]);
    expect(stepsOf(await ask("printer.example"))).toEqual(["hosts printer.example NOERROR"]);
    expect(stepsOf(await ask("localhost"))).toEqual(["special localhost NOERROR"]);
    const { address, port } = upstream.upstream;
    const [stub, asked] = stepsOf(await ask("x.corp.example"));
    expect(stub).toBe("stub x.corp.example corp.example");
    expect(asked).toMatch(new RegExp(`^upstream x.corp.example ${address}.*${port} NXDOMAIN$`));
  });

  test("of an outside name: an upstream's, then the cache's with its age", async () => {
    const first = await ask("api.example.com");
    expect(first.explanation).toMatchObject({ isAuthoritative: false, rcode: "NOERROR" });
    expect(first.explanation?.steps.at(-1)).toMatchObject({ by: "upstream", rcode: "NOERROR" });
    expect(first.explanation?.steps.at(-1)?.elapsedMs).toBeGreaterThan(0);
    const again = await ask("api.example.com");
    expect(again.explanation?.steps).toMatchObject([{ by: "cache", isStale: false }]);
    expect(again.explanation?.steps[0]?.ageMs).toBeGreaterThan(0);
    expect(formatReply(again)).toMatch(/^cache +api\.example\.com +NOERROR, kept for \d+\.\d s$/m);
  });

  test("of the root, and of an outside name that the search list finds", async () => {
    expect(formatReply(await ask("."))).toMatch(/^\. A /);
    const walked = await ask("api.example.com", { from: "prod/web-0" });
    expect(walked.explanation).toMatchObject({ isAuthoritative: true, rcode: "NOERROR" });
    expect(formatReply(walked)).toContain(" ms, of others, by way of a name of the cluster's\n");
  });

  test("of an upstream that is not there: why", async () => {
    const reply = await ask("www.gone.example");
    expect(reply.explanation).toMatchObject({ rcode: "SERVFAIL" });
    expect(formatReply(reply)).toMatch(
      /^upstream .* no answer \(connect ECONNREFUSED 127\.0\.0\.1:1\), in /m,
    );
  });

  test("of a pod's search walk, as the pod begins it", async () => {
    const walked = await ask("web.dev", { from: "prod/web-0" });
    expect(walked.asker).toEqual({
      address: "127.0.0.1",
      pod: "prod/web-0",
      searched: "web.dev.prod.svc.cluster.local",
    });
    expect(walked.explanation?.answers).toEqual([
      "web.dev.prod.svc.cluster.local. 30 CNAME web.dev.svc.cluster.local.",
      "web.dev.svc.cluster.local. 30 A 10.96.2.1",
    ]);
    expect(stepsOf(walked)).toEqual([
      "zone web.dev.prod.svc.cluster.local NXDOMAIN",
      "search list web.dev.prod.svc.cluster.local → web.dev.svc.cluster.local",
      "zone web.dev.svc.cluster.local NOERROR",
    ]);
    expect(formatReply(walked)).toContain(
      "web.dev.prod.svc.cluster.local. A for 127.0.0.1 (pod prod/web-0), first of its search list\n",
    );
    // With its dot it is meant as it is.
    expect((await ask("web.dev.", { from: "127.0.0.1" })).asker).not.toHaveProperty("searched");
  });

  test("of a stranger says that it would be refused", async () => {
    const reply = await ask("web.prod.svc.cluster.local", { from: "192.0.2.99" });
    expect(reply.explanation).toMatchObject({ mayAsk: false });
    expect(formatReply(reply)).toContain("This client gets REFUSED");
  });
});

describe("what is wrong is named", () => {
  test.each<[string, Partial<DnsQuestion>, RegExp]>([
    ["a..b", {}, /^Cannot ask for "a\.\.b": it has an empty label/],
    ["a", { type: "BAD" }, /^Cannot ask for type "BAD": expected one of A, .*TYPE and a number$/],
    ["a", { from: "nobody" }, /^Cannot ask as "nobody": no pod .* prod\/web-0 \(127\.0\.0\.1\)/],
    ["a", { from: "twin" }, /^Cannot ask as "twin": several .* prod\/twin .*, dev\/twin/],
  ])("%s %j", async (name, more, expected) => {
    expect((await ask(name, more)).problem).toMatch(expected);
  });

  test("a line that is no question, and one without an end", async () => {
    expect((await raw("nonsense\n")).problem).toMatch(/JSON/);
    expect((await raw('{"name":5,"type":"A"}\n')).problem).toMatch(/string/);
    await expect(raw("x".repeat(5000))).rejects.toThrow(/JSON|ECONNRESET|EPIPE/);
    expect((await ask("web.prod.svc.cluster.local")).explanation?.rcode).toBe("NOERROR");
  });

  test("only root may connect", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
