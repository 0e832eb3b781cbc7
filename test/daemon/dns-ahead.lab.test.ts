// A node where another DNS has rules for the service address, as kube-proxy has for CoreDNS: who answers
// while the daemon lives, dies, hangs, comes back and is replaced.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { dnsAddress, startAsking } from "./asking.ts";
import { type DaemonProcess, TestMachine } from "./node-process.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
const waiting = { timeout: 40_000, interval: 50 };
const name = "kube-dns.kube-system.svc.cluster.local";
/** What each of the two answers. */
const ours = dnsAddress;
const theirs = "192.0.2.99";

// "other" stands for CoreDNS's pod, on the node or on another one: it has no way back to the service address,
// which is local to every node. "pod" stands for a pod of the node.
const scene = `set -e
sysctl -qw net.ipv4.ip_forward=1
for n in other pod; do ip netns add $n; ip -n $n link set lo up; done
ip link add other0 type veth peer name eth0 netns other
ip link add pod0 type veth peer name eth0 netns pod
ip address add 192.168.77.1/24 dev other0
ip address add 192.168.78.1/24 dev pod0
ip link set other0 up
ip link set pod0 up
ip -n other address add 192.168.77.2/24 dev eth0
ip -n other link set eth0 up
ip -n other route add 192.168.78.0/24 via 192.168.77.1
ip -n other route add 172.30.1.0/24 via 192.168.77.1
ip -n pod address add 192.168.78.2/24 dev eth0
ip -n pod link set eth0 up
ip -n pod route add default via 192.168.78.1
nft -f - <<end
table ip kube-proxy {
  chain services {
    ip daddr ${dnsAddress} udp dport 53 dnat to 192.168.77.2
    ip daddr ${dnsAddress} tcp dport 53 dnat to 192.168.77.2
  }
  chain in { type nat hook prerouting priority -100; jump services; }
  chain out { type nat hook output priority -100; jump services; }
}
end
echo made`;

class OtherDns implements AsyncDisposable {
  readonly #process;
  #log = "";

  constructor(machine: TestMachine) {
    const dnsmasq = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"];
    const options = ["--no-hosts", `--address=/#/${theirs}`, "--log-queries", "--log-facility=-"];
    const mortal = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", "other"];
    this.#process = spawn("nsenter", [...machine.enter(), ...mortal, ...dnsmasq, ...options], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process.stderr.on("data", (chunk: Buffer) => (this.#log += chunk.toString()));
  }

  /** Queries until now. */
  get asked(): number {
    return this.#log.split("query[").length - 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "close");
    this.#process.kill("SIGKILL");
    await ended;
  }
}

let machine: TestMachine;
let other: OtherDns;

const configure = (more = ""): void =>
  machine.write(
    "/etc/fairlead/fairlead.yaml",
    `dns: { upstreams: ["127.0.0.1:5355"], clients: [192.168.78.0/24] ${more} }\n`,
  );

beforeEach(async () => {
  machine = await TestMachine.open();
  for (const file of readdirSync(demo)) {
    const text = readFileSync(join(demo, file), "utf8");
    machine.write(`/etc/fairlead/cluster.d/${file}`, text);
  }
  configure();
  const made = machine.run("sh", "-c", scene);
  if (made !== "made\n") throw new Error(made);
  other = new OtherDns(machine);
  await answeredBy(theirs);
});
afterEach(async () => {
  await other[Symbol.asyncDispose]();
  await machine[Symbol.asyncDispose]();
});

/** From the node and from the pod, over UDP and TCP. */
const answers = (): readonly string[] =>
  [[], ["ip", "netns", "exec", "pod"]].flatMap((where) =>
    ["+notcp", "+tcp"].map((transport) =>
      machine
        .run(...where, "dig", "+short", "+tries=1", "+time=5", transport, `@${dnsAddress}`, name)
        .trim(),
    ),
  );
const all = (answer: string): readonly string[] => Array.from({ length: 4 }, () => answer);
const answeredBy = (who: string): Promise<void> =>
  vi.waitFor(() => expect(answers()).toEqual(all(who)), waiting);
const serving = (daemon: DaemonProcess): Promise<void> =>
  vi.waitFor(() => expect(daemon.log()).toContain("the daemon serves"), waiting);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("the daemon beside a DNS that has the service address", () => {
  test("answers while it lives; killed, the other does; started again, it does again", async () => {
    const first = machine.startDaemon();
    await answeredBy(ours);
    const before = other.asked;
    // Longer than the word of one moment lasts.
    for (const untilMs = performance.now() + 5_000; performance.now() < untilMs;) {
      expect(answers()).toEqual(all(ours));
    }
    expect(other.asked).toBe(before);
    expect((await machine.ready()).problems).toEqual([]);
    first.kill("SIGKILL");
    await first.ended;
    await answeredBy(theirs);
    machine.startDaemon();
    await answeredBy(ours);
  }, 180_000);

  test("that hangs leaves it to the other until it goes on", async () => {
    const daemon = machine.startDaemon();
    await answeredBy(ours);
    daemon.kill("SIGSTOP");
    await answeredBy(theirs);
    daemon.kill("SIGCONT");
    await answeredBy(ours);
  }, 180_000);

  test("that is stopped leaves it to the other before it goes", async () => {
    const daemon = machine.startDaemon();
    await serving(daemon);
    await answeredBy(ours);
    daemon.kill("SIGTERM");
    expect(await daemon.ended).toBe(0);
    expect(answers()).toEqual(all(theirs));
  }, 120_000);

  test("is replaced without a lost query, and without one for the other", async () => {
    let running = machine.startDaemon();
    await serving(running);
    await answeredBy(ours);
    const before = other.asked;
    // The scene's first questions: they are counted.
    expect(before).toBeGreaterThanOrEqual(4);
    const asking = await startAsking(machine, 100);
    for (let turn = 0; turn < 2; turn++) {
      await pause(700);
      const next = machine.startDaemon(undefined, undefined, ["--replace"]);
      await serving(next);
      expect(await running.ended).toBe(0);
      running = next;
    }
    // Longer than the word of the daemons before lasts.
    await pause(4_000);
    const figures = await asking.finish();
    process.stdout.write(`${JSON.stringify(figures)}\n`);
    expect(figures.lost).toEqual([]);
    expect(figures.sent).toBeGreaterThan(400);
    expect(other.asked).toBe(before);
  }, 180_000);

  test("leaves it to the other for good where it is configured so", async () => {
    configure(", ahead: false");
    await serving(machine.startDaemon());
    await machine.ready();
    expect(answers()).toEqual(all(theirs));
    expect(machine.run("nft", "list", "table", "inet", "fairlead")).not.toContain("dns-ahead");
  }, 120_000);
});
