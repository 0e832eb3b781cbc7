// Other people's servers on both sides of the resolver, each on loopback in a namespace of its own:
//
//   dig → unbound, kresd or dnsmasq (judge) → the resolver on 127.0.0.10 → unbound (TLS) or knotd (upstream)
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DnsCounters, UpstreamReading } from "../../dns/server.ts";
import { createNamespace, type TestNamespace } from "../support/netns.ts";
import { type Authority, createAuthority } from "./certificates.ts";

type Told = DnsCounters & { readonly upstreams: readonly UpstreamReading[] };

const resolver = "127.0.0.10";
let node: TestNamespace;
let directory: string;
let authority: Authority;
const children: ChildProcess[] = [];

const at = (file: string): string => join(directory, file);

function inside(command: string, args: readonly string[]): ChildProcess {
  const child = spawn("ip", ["netns", "exec", node.name, command, ...args], {
    // unbound takes its leave with a page of figures.
    stdio: ["pipe", "pipe", command === "unbound" ? "ignore" : "inherit"],
  });
  children.push(child);
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, "exit");
}

const dig = (...args: readonly string[]): string =>
  node.run("dig", "+tries=1", "+time=5", "+nocookie", ...args);

/** Until a server answers at all: what it starts with is its own business. */
async function untilAnswers(...where: readonly string[]): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  for (;;) {
    try {
      if (/status: /.test(dig(...where))) return;
    } catch {
      // Nobody listens yet.
    }
    if (performance.now() > deadlineMs) throw new Error(`No server at ${where.join(" ")}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

interface Running extends AsyncDisposable {
  told(): Promise<Told>;
}

async function startResolver(upstream: string, ca = ""): Promise<Running> {
  const serve = join(import.meta.dirname, "serve-upstream.ts");
  const child = inside(process.execPath, [
    serve,
    resolver,
    "127.0.0.0/8",
    upstream,
    ...(ca === "" ? [] : [ca]),
  ]);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const ready = await lines.next();
  if (ready.value !== "ready") throw new Error(`The resolver said ${String(ready.value)}`);
  return {
    told: async () => {
      child.stdin!.write("\n");
      return JSON.parse((await lines.next()).value as string) as Told;
    },
    [Symbol.asyncDispose]: () => stop(child),
  };
}

beforeAll(async () => {
  node = createNamespace();
  directory = mkdtempSync(join(tmpdir(), "fairlead-dns-servers-"));
  authority = createAuthority();
  const { key, cert } = authority.sign("DNS:dns.example");
  writeFileSync(at("server.key"), key);
  writeFileSync(at("server.pem"), cert);
  writeFileSync(
    at("unbound.conf"),
    `server:
  directory: "${directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  interface: 127.0.0.2@853
  tls-service-key: "${at("server.key")}"
  tls-service-pem: "${at("server.pem")}"
  local-zone: "example.com." static
  local-data: "api.example.com. 300 A 192.0.2.53"
  local-data: "api.example.com. 300 AAAA 2001:db8::53"
  local-data: "alias.example.com. 300 CNAME api.example.com."
remote-control:
  control-enable: no
`,
  );
  mkdirSync(at("knot"));
  writeFileSync(
    at("example.com.zone"),
    `example.com. 300 SOA ns.example.com. host.example.com. 1 7200 1800 86400 60
example.com. 300 NS ns.example.com.
ns.example.com. 300 A 127.0.0.3
api.example.com. 300 A 192.0.2.53
api.example.com. 300 AAAA 2001:db8::53
c1.example.com. 300 CNAME c2.example.com.
c2.example.com. 300 CNAME api.example.com.
${Array.from({ length: 120 }, (_, n) => `many.example.com. 300 A 198.51.100.${n + 1}`).join("\n")}
`,
  );
  writeFileSync(
    at("knot.conf"),
    `server:
  listen: 127.0.0.3@53
  rundir: "${at("knot")}"
database:
  storage: "${at("knot")}"
mod-cookies:
  - id: default
template:
  - id: default
    global-module: mod-cookies/default
zone:
  - domain: example.com
    file: "${at("example.com.zone")}"
`,
  );
  inside("unbound", ["-d", "-c", at("unbound.conf")]);
  inside("knotd", ["-c", at("knot.conf")]);
  await untilAnswers("@127.0.0.3", "api.example.com");
});

afterAll(async () => {
  for (const child of children) await stop(child);
  node[Symbol.dispose]();
  authority[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

describe("unbound as an upstream over TLS", () => {
  test("answers over one connection for many queries", async () => {
    await using running = await startResolver("tls://127.0.0.2#dns.example", authority.path);
    const at10 = `@${resolver}`;
    expect(dig(at10, "+short", "api.example.com")).toBe("192.0.2.53\n");
    expect(dig(at10, "+short", "alias.example.com", "CNAME")).toBe("api.example.com.\n");
    expect(dig(at10, "nosuch.example.com")).toContain("status: NXDOMAIN");
    expect(dig(at10, "api.example.com", "TXT")).toMatch(/status: NOERROR.*\n.*ANSWER: 0/);
    const { upstreams } = await running.told();
    expect(upstreams).toMatchObject([
      { upstream: "tls://127.0.0.2:853", requests: 4, responses: { none: 0 } },
    ]);
    expect(upstreams[0]!.connections.opened).toBe(1);
  });

  test("is refused when its certificate is for another name", async () => {
    await using running = await startResolver("tls://127.0.0.2#other.example", authority.path);
    expect(dig(`@${resolver}`, "api.example.com")).toContain("status: SERVFAIL");
    const { upstreams } = await running.told();
    expect(upstreams[0]!.problem).toMatch(/certificate is not for other\.example/);
  });
});

describe("knotd as an upstream, with cookies", () => {
  test("answers over UDP, over TCP what is large, and keeps the case of names", async () => {
    await using running = await startResolver("127.0.0.3");
    const at10 = `@${resolver}`;
    expect(dig(at10, "+short", "c1.example.com")).toBe(
      "c2.example.com.\napi.example.com.\n192.0.2.53\n",
    );
    expect(dig(at10, "+short", "+tcp", "many.example.com").trim().split("\n")).toHaveLength(120);
    expect(dig(at10, "nosuch.example.com")).toContain("status: NXDOMAIN");
    const { upstreams } = await running.told();
    // The large one was asked a second time, over a connection.
    expect(upstreams).toMatchObject([
      { requests: 3, responses: { NOERROR: 2, NXDOMAIN: 1 }, connections: { opened: 1 } },
    ]);
  });
});

/** How a judge is started, and where it then answers. */
interface Judge {
  readonly address: string;
  readonly start: () => void;
}

const judges: Readonly<Record<string, Judge>> = {
  unbound: {
    address: "127.0.0.21",
    start: () => {
      writeFileSync(
        at("judge.conf"),
        `server:
  directory: "${directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  interface: 127.0.0.21
  do-not-query-localhost: no
  do-ip6: no
  use-caps-for-id: yes
  local-zone: "10.in-addr.arpa." nodefault
forward-zone:
  name: "."
  forward-addr: ${resolver}
remote-control:
  control-enable: no
`,
      );
      inside("unbound", ["-d", "-c", at("judge.conf")]);
    },
  },
  kresd: {
    address: "127.0.0.22",
    start: () => {
      mkdirSync(at("kresd"), { recursive: true });
      writeFileSync(
        at("kresd.conf"),
        `trust_anchors.remove('.')
net.listen('127.0.0.22', 53, { kind = 'dns' })
net.ipv6 = false
cache.size = 10 * MB
policy.add(policy.all(policy.FORWARD({'${resolver}'})))
`,
      );
      inside("kresd", ["-n", "-c", at("kresd.conf"), at("kresd")]);
    },
  },
  dnsmasq: {
    address: "127.0.0.23",
    start: () => {
      inside("dnsmasq", [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--listen-address=127.0.0.23",
        "--bind-interfaces",
        `--server=${resolver}`,
      ]);
    },
  },
};

describe.each(Object.entries(judges))("%s as a judge", (_, { address, start }) => {
  test("accepts our answers, of the cluster and of outside, and keeps them", async () => {
    await using running = await startResolver("127.0.0.3");
    start();
    const where = `@${address}`;
    await untilAnswers(where, "cluster.local", "SOA");
    const questions: readonly (readonly [readonly string[], RegExp])[] = [
      [["web.prod.svc.cluster.local"], /10\.96\.1\.1/],
      [
        ["db.prod.svc.cluster.local"],
        /10\.244\.1\.20[^]*10\.244\.2\.20|10\.244\.2\.20[^]*10\.244\.1\.20/,
      ],
      [["dual.prod.svc.cluster.local", "AAAA"], /fd00:10:96::1:3/],
      [["_pg._tcp.db.prod.svc.cluster.local", "SRV"], /5432 db-[01]\.db\.prod/],
      [["-x", "10.96.1.1"], /web\.prod\.svc\.cluster\.local/],
      [["ext.prod.svc.cluster.local"], /CNAME\s+api\.example\.com\.[^]*192\.0\.2\.53/],
      [["web.prod.svc.cluster.local", "AAAA"], /NOERROR[^]*ANSWER: 0/],
      [["nosuch.prod.svc.cluster.local"], /NXDOMAIN/],
      [["c1.example.com"], /c2\.example\.com[^]*192\.0\.2\.53/],
      [["nosuch.example.com"], /NXDOMAIN/],
      [["big.prod.svc.cluster.local", "+tcp"], /ANSWER: 100/],
    ];
    for (const [question, expected] of questions) expect(dig(where, ...question)).toMatch(expected);
    const queriesOf = async (): Promise<number> => {
      const { queries } = await running.told();
      return queries.udp + queries.tcp;
    };
    const before = await queriesOf();
    // Within the 5 s for which the cluster's answers may be kept.
    for (const [question] of questions.slice(-6)) dig(where, ...question);
    const asked = (await queriesOf()) - before;
    expect(asked).toBeLessThan(6);
  });
});
