// Ordinary clients inside a pod's namespace, which the resolver does not know as a pod's.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lookupNames, lookupsIn, type PodLab, resolverAddress, startPodLab } from "./pod-lab.ts";

let lab: PodLab;
beforeAll(async () => {
  lab = await startPodLab({ isKnownPod: false });
});
afterAll(() => lab[Symbol.asyncDispose]());

describe.each(lookupNames)("%s", (client) => {
  const lookup = (name: string): string[] => lookupsIn(lab)[client]!(name);

  test.each([
    ["web", ["10.96.1.1"]],
    ["web.dev", ["10.96.2.1"]],
    ["kubernetes.default", ["10.96.0.1"]],
    ["kubernetes.default.svc", ["10.96.0.1"]],
    ["kubernetes.default.svc.cluster.local", ["10.96.0.1"]],
    ["dual", ["10.96.1.3", "fd00:10:96::1:3"]],
    ["ext", ["192.0.2.53", "2001:db8::53"]],
    ["api.example.com", ["192.0.2.53", "2001:db8::53"]],
    ["v4only.example.com", ["192.0.2.54"]],
    ["nosuch", [""]],
  ])("finds %s", (name, addresses) => {
    expect(lookup(name).toSorted()).toEqual(addresses);
  });

  test("finds a headless service's addresses, all of a long list", () => {
    expect(lookup("db").toSorted()).toEqual(["10.244.1.20", "10.244.2.20"]);
    // 100 addresses do not fit into UDP: who can, comes back over TCP; musl before 1.2.4 cannot, and
    // lives on those that fitted.
    const found = new Set(lookup("big"));
    expect(found.size).toBeGreaterThan(20);
    if (!client.startsWith("musl")) expect(found.size).toBe(100);
  });
});

describe.each(["glibc", "musl"])("the search list as %s walks it", (library) => {
  const queriesFor = async (name: string): Promise<number> => {
    const before = (await lab.counters()).queries.udp;
    lab.inPod(`${lab.directory}/lookup-${library} ${name}`);
    return (await lab.counters()).queries.udp - before;
  };

  test("L01 a service of the pod's own namespace takes one query per type", async () => {
    expect(await queriesFor("web")).toBe(2);
  });

  test("L02 another namespace's is found at the second element", async () => {
    expect(await queriesFor("web.dev")).toBe(4);
  });
});

describe("other clients", () => {
  test("getent finds names and reverse names", () => {
    expect(lab.inPod("getent ahostsv4 web")[0]).toMatch(/^10\.96\.1\.1\s+STREAM web\.prod\.svc/);
    expect(lab.inPod("getent hosts 10.96.1.1")[0]).toMatch(/^10\.96\.1\.1\s+web\.prod\.svc/);
    expect(lab.inPod("getent hosts 10.244.1.20")[0]).toMatch(
      /^10\.244\.1\.20\s+db-0\.db\.prod\.svc/,
    );
  });

  test("dig has nothing to complain of", () => {
    expect(lab.inPod("dig +search +short web")).toEqual(["10.96.1.1"]);
    expect(lab.inPod("dig +tcp +short _http._tcp.web.prod.svc.cluster.local SRV")).toEqual([
      "0 100 80 web.prod.svc.cluster.local.",
    ]);
    expect(lab.inPod("dig +short cluster.local NS")).toEqual(["ns.dns.cluster.local."]);
    expect(lab.inPod("dig +short ns.dns.cluster.local")).toEqual([resolverAddress]);
    expect(lab.inPod("dig +short -x fd00:10:96::1:1")).toEqual(["api6.prod.svc.cluster.local."]);
    const whole = lab.inPod("dig +qr +cookie +nsid +subnet=10.0.0.0/8 web.prod.svc.cluster.local");
    const complaints = whole.filter((line) =>
      /^;;.*(?:warn|mismatch|malformed|unexpected)/i.test(line),
    );
    expect(complaints.filter((line) => !line.includes(".local is reserved"))).toEqual([]);
  });

  test("Node's resolver reads every type", () => {
    const source = `
      const r = new (require("dns").promises.Resolver)();
      (async () => console.log(JSON.stringify([
        await r.resolve4("web.prod.svc.cluster.local"),
        (await r.resolveSrv("_pg._tcp.db.prod.svc.cluster.local")).map(({ name, port }) => [name, port]).sort(),
        await r.resolveTxt("dns-version.cluster.local"),
        await r.reverse("10.96.1.1"),
        await r.resolveCname("ext.prod.svc.cluster.local"),
        (await r.resolveSoa("cluster.local")).minttl,
        await r.resolve4("nosuch.prod.svc.cluster.local").catch((e) => e.code),
        await r.resolve6("web.prod.svc.cluster.local").catch((e) => e.code),
      ])))()`;
    expect(JSON.parse(lab.inPod(`${process.execPath} -e '${source}'`)[0]!)).toEqual([
      ["10.96.1.1"],
      [
        ["db-0.db.prod.svc.cluster.local", 5432],
        ["db-1.db.prod.svc.cluster.local", 5432],
      ],
      [["1.1.0"]],
      ["web.prod.svc.cluster.local"],
      ["api.example.com"],
      5,
      "ENOTFOUND",
      "ENODATA",
    ]);
  });

  test("a source outside the clients' networks is refused", () => {
    const answer = lab.pod.run(
      "dig",
      `@${resolverAddress}`,
      "-b",
      "10.99.0.2",
      "web.prod.svc.cluster.local",
    );
    expect(answer).toContain("status: REFUSED");
    expect(answer).toContain("ANSWER: 0");
  });
});
