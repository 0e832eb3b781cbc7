// What the resolver knows of its clients, through the whole of it: the test itself is a pod.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PodBook } from "../../dns/cluster/pod-book.ts";
import { siteNamesOf } from "../../dns/handlers/site-names.ts";
import type { DnsServer } from "../../dns/server.ts";
import { cidr, ip } from "../support/builders.ts";
import { timeLived } from "../support/lived.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { aPod, prodSearch } from "./pods.ts";
import { exampleWorld, type ScriptedUpstream, startUpstream } from "./scripted-upstream.ts";
import { ask, askUntil, startTestDns } from "./test-server.ts";

const self = "127.0.0.1";
const search = { ...prodSearch, domains: [...prodSearch.domains, "corp.example"] };
const below = (name: string): string => `${name}.prod.svc.cluster.local`;

let upstream: ScriptedUpstream;
let book: PodBook;
let server: DnsServer;
const start = async (more: Parameters<typeof startTestDns>[0] = {}): Promise<void> => {
  await server?.[Symbol.asyncDispose]();
  server = await startTestDns({ upstreams: [upstream.upstream], podBook: book, ...more });
  server.publish(fixtureSnapshot());
  await askUntil(below("web"), "A", ({ rcode }) => rcode === "NOERROR");
};
const names = (): string[] => upstream.asked.map(({ name }) => name);

beforeEach(async () => {
  upstream = await startUpstream(exampleWorld);
  book = new PodBook();
  await book.announce(aPod("client", self, { search }));
  await start();
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

describe("the search walk", () => {
  test("L04 an outside name is in the first answer, after one query to the upstream", async () => {
    const plain = { ...search, domains: prodSearch.domains };
    await book.announce(aPod("client", self, { search: plain }));
    const a = await ask(below("api.example.com"), "A");
    expect(a).toMatchObject({ rcode: "NOERROR", isAuthoritative: true });
    expect(a.answers).toEqual(["CNAME api.example.com", "A 192.0.2.53"]);
    const aaaa = await ask(below("api.example.com"), "AAAA");
    expect(aaaa.answers).toEqual(["CNAME api.example.com", "AAAA 2001:db8::53"]);
    expect(names()).toEqual(["api.example.com", "api.example.com"]);
    expect(server.counters().searchWalks).toBe(2);
  });

  test("the missing family is NODATA behind the same alias", async () => {
    const answer = await ask(below("v4only.example.com"), "AAAA");
    expect(answer).toMatchObject({ rcode: "NOERROR", authorities: ["SOA"] });
    expect(answer.answers).toEqual(["CNAME v4only.example.com"]);
  });

  test("L02 names of the cluster are found in their order, without the upstream", async () => {
    for (const [name, target, address] of [
      ["web.dev", "web.dev.svc.cluster.local", "10.96.2.1"],
      ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "10.96.0.1"],
    ] as const) {
      const { answers } = await ask(below(name), "A");
      expect(answers).toEqual([`CNAME ${target}`, `A ${address}`]);
    }
    expect((await ask(below("web"), "A")).answers).toEqual(["A 10.96.1.1"]);
    expect(names()).toEqual([]);
  });

  test("the node's own domains are asked before the name itself", async () => {
    await ask(below("v4only.example.com"), "A");
    expect(names()).toEqual(["v4only.example.com.corp.example", "v4only.example.com"]);
  });

  test("what is nowhere is NXDOMAIN of the first name", async () => {
    const answer = await ask(below("nosuch"), "A");
    expect(answer).toMatchObject({ rcode: "NXDOMAIN", answers: [], authorities: ["SOA"] });
  });

  test("rewritten names are found on the way", async () => {
    const site = siteNamesOf({
      stubs: {},
      hosts: {},
      ttls: {},
      rewrite: { old: "web.dev.svc.cluster.local" },
    });
    await start({ site });
    expect((await ask(below("old"), "A")).answers).toEqual(["CNAME old", "A 10.96.2.1"]);
  });

  test("it is off for who is no pod, after the pod's end, and where it is switched off", async () => {
    await book.withdraw("id of client");
    expect((await ask(below("api.example.com"), "A")).rcode).toBe("NXDOMAIN");
    await book.announce(aPod("client", self, { search }));
    expect((await ask(below("api.example.com"), "A")).rcode).toBe("NOERROR");
    await start({ autopath: false });
    expect((await ask(below("api.example.com"), "A")).rcode).toBe("NXDOMAIN");
  });

  test("a silent upstream holds up no answer for longer than a second", async () => {
    const silent = await startUpstream(() => []);
    await using _ = silent;
    await start({ upstreams: [silent.upstream] });
    const [{ rcode }, elapsedMs] = await timeLived(() => ask(below("api.example.com"), "A"));
    expect(rcode).toBe("NXDOMAIN");
    expect(elapsedMs).toBeLessThan(3000);
  });
});

describe("names of attachments", () => {
  const db = aPod("db-0", "10.244.1.200", { aliases: ["db"], network: "lab" });

  test("are there when announce() resolves, and gone when withdraw() does", async () => {
    await book.announce(db);
    expect((await ask("db.lab.cluster.local", "A")).answers).toEqual(["A 10.244.1.200"]);
    expect((await ask("DB-0.lab.cluster.local", "A")).answers).toEqual(["A 10.244.1.200"]);
    expect(await ask("db.lab.cluster.local", "AAAA")).toMatchObject({
      rcode: "NOERROR",
      authorities: ["SOA"],
    });
    expect(await ask("lab.cluster.local", "A")).toMatchObject({ rcode: "NOERROR", answers: [] });
    expect((await ask("nosuch.lab.cluster.local", "A")).rcode).toBe("NXDOMAIN");
    const reverse = await ask("200.1.244.10.in-addr.arpa", "PTR");
    expect(reverse.answers).toEqual(["PTR db-0.lab.cluster.local"]);
    await book.withdraw(db.id);
    expect((await ask("db.lab.cluster.local", "A")).rcode).toBe("NXDOMAIN");
  });

  test("are found by their first label, through a search list with the network", async () => {
    await book.announce(db);
    const domains = [...prodSearch.domains, "lab.cluster.local"];
    await book.announce(aPod("client", self, { search: { domains, ndots: 5 } }));
    const { answers } = await ask(below("db-0"), "A");
    expect(answers).toEqual(["CNAME db-0.lab.cluster.local", "A 10.244.1.200"]);
    expect(names()).toEqual([]);
  });

  test("are there again when the thread has started anew", async () => {
    await book.announce(db);
    await start();
    expect((await ask("db.lab.cluster.local", "A")).answers).toEqual(["A 10.244.1.200"]);
  });
});

describe("a pod that cannot be reached", () => {
  test("is in no answer of a service while it is made, and from its end on", async () => {
    const db1 = aPod("db-0", "10.244.1.20");
    const service = "db.prod.svc.cluster.local";
    const answersOf = async (name: string, type: string): Promise<readonly string[]> =>
      (await ask(name, type)).answers.toSorted();
    expect(await answersOf(service, "A")).toEqual(["A 10.244.1.20", "A 10.244.2.20"]);
    book.withhold([ip("10.244.1.20")]);
    const withheld = async () => expect(await answersOf(service, "A")).toEqual(["A 10.244.2.20"]);
    await vi.waitFor(withheld, { timeout: 30_000 });
    expect(await answersOf(`_pg._tcp.${service}`, "SRV")).toEqual([`SRV 5432 db-1.${service}`]);
    expect((await ask(`db-0.${service}`, "A")).rcode).toBe("NXDOMAIN");
    expect(await answersOf("20.1.244.10.in-addr.arpa", "PTR")).toEqual([]);
    await book.announce(db1);
    expect(await answersOf(service, "A")).toEqual(["A 10.244.1.20", "A 10.244.2.20"]);
    await book.withdraw(db1.id);
    expect(await answersOf(service, "A")).toEqual(["A 10.244.2.20"]);
    await start();
    expect(await answersOf(service, "A")).toEqual(["A 10.244.2.20"]);
  });

  test("is in no answer after withdraw(), though the resolver's thread has just begun to wake up", async () => {
    const db1 = aPod("db-0", "10.244.1.20");
    const service = "db.prod.svc.cluster.local";
    for (let round = 0; round < 300; round++) {
      await book.announce(db1);
      // The second time from the memory of the thread that takes datagrams.
      for (const _ of [1, 2]) expect((await ask(service, "A")).answers).toHaveLength(2);
      await book.withdraw(db1.id);
      expect((await ask(service, "A")).answers).toEqual(["A 10.244.2.20"]);
    }
  });

  test("is in no answer while no route leads to its node, and all others are", async () => {
    const service = "db.prod.svc.cluster.local";
    const answers = async (): Promise<readonly string[]> =>
      (await ask(service, "A")).answers.toSorted();
    expect(await answers()).toEqual(["A 10.244.1.20", "A 10.244.2.20"]);
    await book.withholdNetworks([cidr("10.244.2.0/24"), cidr("10.244.9.0/24")]);
    expect(await answers()).toEqual(["A 10.244.1.20"]);
    await start();
    expect(await answers()).toEqual(["A 10.244.1.20"]);
    await book.withholdNetworks([cidr("10.244.1.0/24")]);
    expect(await answers()).toEqual(["A 10.244.2.20"]);
    await book.withholdNetworks([]);
    expect(await answers()).toEqual(["A 10.244.1.20", "A 10.244.2.20"]);
  });
});
