// Ordinary clients inside a pod's namespace, with the resolv.conf that a kubelet writes:
//
//   pod 10.244.1.11 ── veth ── 10.244.1.1 node: resolver on 10.96.0.10:53 (a local route on lo)
//       10.99.0.2 (no client)                   dnsmasq on 127.0.0.1:5355 knows example.com
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createNamespace, type TestNamespace } from "../support/netns.ts";

const address = "10.96.0.10";
let node: TestNamespace;
let pod: TestNamespace;
let directory: string;
let server: ChildProcess;
let upstream: ChildProcess;

beforeAll(async () => {
  node = createNamespace();
  pod = createNamespace();
  directory = mkdtempSync(join(tmpdir(), "fairlead-dns-lab-"));
  node.run("ip", "link", "add", "pod", "type", "veth", "peer", "name", "eth0", "netns", pod.name);
  node.run("ip", "address", "add", "10.244.1.1/24", "dev", "pod");
  node.run("ip", "address", "add", "10.99.0.1/24", "dev", "pod");
  node.run("ip", "link", "set", "pod", "up");
  node.run("ip", "route", "add", "local", address, "dev", "lo", "table", "local");
  pod.run("ip", "address", "add", "10.244.1.11/24", "dev", "eth0");
  pod.run("ip", "address", "add", "10.99.0.2/24", "dev", "eth0");
  pod.run("ip", "link", "set", "eth0", "up");
  pod.run("ip", "route", "add", "default", "via", "10.244.1.1", "src", "10.244.1.11");
  writeFileSync(
    join(directory, "resolv.conf"),
    `nameserver ${address}\nsearch prod.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n`,
  );
  execFileSync("musl-gcc", [
    "-static",
    "-o",
    join(directory, "lookup-musl"),
    join(import.meta.dirname, "lookup.c"),
  ]);
  execFileSync("gcc", [
    "-o",
    join(directory, "lookup-glibc"),
    join(import.meta.dirname, "lookup.c"),
  ]);
  upstream = inside(node, "dnsmasq", [
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--port=5355",
    "--listen-address=127.0.0.1",
    "--bind-interfaces",
    "--local=/com/",
    "--host-record=api.example.com,192.0.2.53,2001:db8::53",
    "--host-record=v4only.example.com,192.0.2.54",
  ]);
  const serve = join(import.meta.dirname, "serve.ts");
  server = inside(node, process.execPath, [serve, address, "10.244.1.0/24", "5355"]);
  const [ready] = (await once(server.stdout!, "data")) as [Buffer];
  if (String(ready) !== "ready\n") throw new Error(`The resolver said ${String(ready)}`);
});

afterAll(async () => {
  for (const child of [server, upstream]) {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  node[Symbol.dispose]();
  pod[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

const inside = (namespace: TestNamespace, command: string, args: readonly string[]): ChildProcess =>
  spawn("ip", ["netns", "exec", namespace.name, command, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });

// `ip netns exec` has a mount namespace of its own: what is mounted in it is seen by nobody else.
const inPod = (command: string): string[] => {
  const script = `mount --bind ${directory}/resolv.conf /etc/resolv.conf && ${command}`;
  return pod.run("sh", "-c", script).trim().split("\n");
};

async function udpQueries(): Promise<number> {
  server.stdin!.write("\n");
  const [line] = (await once(server.stdout!, "data")) as [Buffer];
  return (JSON.parse(String(line)) as { queries: { udp: number } }).queries.udp;
}

const clients: Readonly<Record<string, (name: string) => string[]>> = {
  "glibc's getaddrinfo": (name) => inPod(`${directory}/lookup-glibc ${name}`),
  "musl's getaddrinfo": (name) => inPod(`${directory}/lookup-musl ${name}`),
  "Node's dns.lookup": (name) => {
    const source = `require("dns").lookup("${name}", {all:true, order: "ipv4first"}, (e, list) =>
      (list ?? []).forEach(({address}) => console.log(address)))`;
    return inPod(`${process.execPath} -e '${source}'`);
  },
};

describe.each(Object.entries(clients))("%s", (client, lookup) => {
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
    const before = await udpQueries();
    inPod(`${directory}/lookup-${library} ${name}`);
    return (await udpQueries()) - before;
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
    expect(inPod("getent ahostsv4 web")[0]).toMatch(/^10\.96\.1\.1\s+STREAM web\.prod\.svc/);
    expect(inPod("getent hosts 10.96.1.1")[0]).toMatch(/^10\.96\.1\.1\s+web\.prod\.svc/);
    expect(inPod("getent hosts 10.244.1.20")[0]).toMatch(/^10\.244\.1\.20\s+db-0\.db\.prod\.svc/);
  });

  test("dig has nothing to complain of", () => {
    expect(inPod("dig +search +short web")).toEqual(["10.96.1.1"]);
    expect(inPod("dig +tcp +short _http._tcp.web.prod.svc.cluster.local SRV")).toEqual([
      "0 100 80 web.prod.svc.cluster.local.",
    ]);
    expect(inPod("dig +short cluster.local NS")).toEqual(["ns.dns.cluster.local."]);
    expect(inPod("dig +short ns.dns.cluster.local")).toEqual([address]);
    expect(inPod("dig +short -x fd00:10:96::1:1")).toEqual(["api6.prod.svc.cluster.local."]);
    const whole = inPod("dig +qr +cookie +nsid +subnet=10.0.0.0/8 web.prod.svc.cluster.local");
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
    expect(JSON.parse(inPod(`${process.execPath} -e '${source}'`)[0]!)).toEqual([
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
    const answer = pod.run("dig", `@${address}`, "-b", "10.99.0.2", "web.prod.svc.cluster.local");
    expect(answer).toContain("status: REFUSED");
    expect(answer).toContain("ANSWER: 0");
  });
});
