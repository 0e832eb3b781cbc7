// The servers of bench/dns.bench.ts, each in the benchmark's namespace and on one processor.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestNamespace } from "../../test/support/netns.ts";
import { mallocSettings, nodeOptions } from "../../scripts/daemon-environment.ts";
import { fullName, type Load, type NamedService } from "./cluster.ts";
import { corefile, hasCoreDns, hasRead, startApi } from "./coredns.ts";

export const names = {
  echo: "C echo",
  knot: "knot",
  unbound: "unbound",
  dnsmasq: "dnsmasq",
  coredns: "CoreDNS",
  ours: "fairlead",
  plain: "fairlead, plain",
} as const;
export type Name = (typeof names)[keyof typeof names];

/** CoreDNS where there is one. */
export const present = (): readonly Name[] => {
  const isThere = hasCoreDns();
  return Object.values(names).filter((name) => name !== names.coredns || isThere);
};

/** knot has no cache, an echo no names, and nobody else here walks search lists. */
export const answers = (name: Name, load: Load): boolean =>
  load === "search"
    ? name === names.ours || name === names.plain
    : load !== "outside" || (name !== names.knot && name !== names.echo);

export interface Setting {
  readonly directory: string;
  readonly namespace: TestNamespace;
  readonly services: readonly NamedService[];
  /** Of knot, which has the outside names too. */
  readonly upstreamPort: number;
}

export interface Contender extends AsyncDisposable {
  readonly name: Name;
  readonly port: number;
  /** Of all its threads so far, seconds. */
  cpu(): number;
  /** Resident, octets. */
  resident(): number;
  /** One line to its standard input, and the JSON of its answer. Ours only. */
  ask(line: string): Promise<unknown>;
}

const address = "127.0.0.1";
/** The servers' processor; dnsperf has the other. */
const processor = "0";
const root = join(import.meta.dirname, "../..");

export async function start(name: Name, port: number, setting: Setting): Promise<Contender> {
  const { namespace, directory } = setting;
  await using stack = new AsyncDisposableStack();
  if (name === names.coredns) stack.use(await startApi(setting));
  const words = commandOf(name, port, setting);
  const pinned = ["netns", "exec", namespace.name, "taskset", "-c", processor, ...words];
  const child = spawn("ip", pinned, { cwd: directory, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const next = async (): Promise<string> => ((await once(lines, "line")) as [string])[0];
  if (name === names.ours || name === names.plain) await next();
  else lines.resume();
  stack.defer(() => ended(child));
  await isServing(child, port, namespace);
  if (name === names.coredns) await hasRead(port, setting);
  const held = stack.move();
  return {
    name,
    port,
    cpu: () => cpuOf(child.pid),
    resident: () =>
      1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]),
    ask: async (line) => {
      const answer = next();
      child.stdin.write(`${line}\n`);
      return JSON.parse(await answer);
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

function commandOf(name: Name, port: number, setting: Setting): string[] {
  const { directory, services, upstreamPort } = setting;
  const file = (suffix: string, text: string): string => {
    const path = join(directory, `${port}.${suffix}`);
    writeFileSync(path, text);
    return path;
  };
  switch (name) {
    case names.echo:
      return [join(directory, "echo"), address, String(port)];
    case names.knot:
      return knotCommand(port, directory, services);
    case names.unbound:
      return ["unbound", "-d", "-c", file("conf", unboundConf(port, setting))];
    case names.dnsmasq: {
      const hosts = services.map((service) => `${service.address} ${fullName(service)}\n`).join("");
      const fixed = "--keep-in-foreground --conf-file=/dev/null --user=root --bind-interfaces";
      const more =
        "--no-resolv --no-hosts --local=/cluster.local/ --cache-size=10000 --local-ttl=5";
      const own = [`--port=${port}`, `--listen-address=${address}`, "--dns-forward-max=2000"];
      const upstream = `--server=${address}#${upstreamPort}`;
      const files = [`--addn-hosts=${file("hosts", hosts)}`, `--pid-file=${file("pid", "")}`];
      return ["dnsmasq", ...fixed.split(" "), ...more.split(" "), ...own, upstream, ...files];
    }
    case names.coredns:
      return ["coredns", "-conf", file("Corefile", corefile(port, setting))];
    case names.ours:
    case names.plain: {
      const count = String(services.length);
      const program = join(root, "bench/dns/serve.ts");
      const udp = name === names.plain ? ["plain"] : [];
      const words = [address, String(port), count, String(upstreamPort)];
      const node = [process.execPath, ...nodeOptions, program];
      return ["env", ...mallocSettings, ...node, ...words, ...udp];
    }
  }
}

function unboundConf(port: number, { services, upstreamPort }: Setting): string {
  const data = services.map(
    (service) => `  local-data: "${fullName(service)}. 5 IN A ${service.address}"\n`,
  );
  return `server:
  interface: ${address}@${port}
  do-daemonize: no
  do-not-query-localhost: no
  username: ""
  chroot: ""
  directory: "/tmp"
  pidfile: ""
  use-syslog: no
  logfile: "/dev/null"
  num-threads: 1
  so-rcvbuf: 4m
  module-config: "iterator"
  minimal-responses: yes
  msg-cache-size: 16m
  rrset-cache-size: 16m
  local-zone: "cluster.local." static
  local-data: "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"
${data.join("")}forward-zone:
  name: "."
  forward-addr: ${address}@${upstreamPort}
`;
}

const soa =
  "@ 300 IN SOA ns.dns hostmaster 1 7200 1800 86400 300\n@ 300 IN NS ns.dns\nns.dns IN A 127.0.0.1\n";

function knotCommand(port: number, directory: string, services: readonly NamedService[]): string[] {
  const own = join(directory, `knot-${port}`);
  mkdirSync(own, { recursive: true });
  const records = services.map(
    ({ name, namespace, address }) => `${name}.${namespace}.svc 5 IN A ${address}\n`,
  );
  writeFileSync(join(own, "cluster"), `$ORIGIN cluster.local.\n${soa}${records.join("")}`);
  // Also what the others have behind them.
  writeFileSync(join(own, "outside"), `$ORIGIN example.org.\n${soa}* 300 IN A 192.0.2.7\n`);
  writeFileSync(
    join(own, "conf"),
    `server:
  rundir: "${own}"
  listen: ${address}@${port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: "${own}"
zone:
  - domain: cluster.local
    file: "${join(own, "cluster")}"
  - domain: example.org
    file: "${join(own, "outside")}"
`,
  );
  return ["knotd", "-c", join(own, "conf")];
}

async function isServing(
  child: ChildProcess,
  port: number,
  namespace: TestNamespace,
): Promise<void> {
  const untilMs = performance.now() + 30_000;
  while (performance.now() < untilMs && child.exitCode === null) {
    // Whatever it answers, an echo nothing that dig takes.
    const sockets = namespace.run("ss", "-Hlun", `sport = :${port}`);
    if (sockets.trim() !== "") return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`Nothing serves at port ${port}`);
}

/** Of the process and of what it started. */
function cpuOf(pid: number | undefined): number {
  let ticks = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8");
    ticks += Number(text.split(" ")[0]);
  }
  return ticks / 1e9;
}

export function compileEcho(directory: string): void {
  const flags = "-std=gnu11 -O2 -static -Wall -Wextra -Werror".split(" ");
  const output = join(directory, "echo");
  execFileSync("musl-gcc", [...flags, "-o", output, join(root, "bench/dns/echo.c")]);
}
