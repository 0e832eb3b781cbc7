// A node where another DNS has rules for the service address, as kube-proxy has for CoreDNS: a pod of the node,
// and "other", which stands for CoreDNS's pod, on the node or on another one. That has no way back to the
// service address, which is local to every node.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { vi } from "vitest";
import { dnsAddress } from "./asking.ts";
import { TestMachine } from "./node-process.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
const waiting = { timeout: 40_000, interval: 50 };
const name = "kube-dns.kube-system.svc.cluster.local";

/** What each of the two answers. */
export const ours = dnsAddress;
export const theirs = "192.0.2.99";

interface Addresses {
  /** As `ip` and nft call the family. */
  readonly family: "ip" | "ip6";
  readonly service: string;
  /** Networks of the other DNS and of the pod: in each, 1 is the node and 2 is it. */
  readonly other: string;
  readonly pod: string;
  readonly length: number;
  /** What the node's own queries come from. */
  readonly node: string;
}

const addressesOf: Readonly<Record<4 | 6, Addresses>> = {
  4: {
    family: "ip",
    service: dnsAddress,
    other: "192.168.77.",
    pod: "192.168.78.",
    length: 24,
    node: "172.30.1.0/24",
  },
  6: {
    family: "ip6",
    service: "fd00:10:96::a",
    other: "fd00:77::",
    pod: "fd00:78::",
    length: 64,
    node: "fd00:30::/64",
  },
};

const networkOf = (prefix: string, { family, length }: Addresses): string =>
  `${prefix}${family === "ip" ? "0" : ""}/${length}`;

function sceneOf(addresses: Addresses): string {
  const { family, service, other, pod, length, node } = addresses;
  // Nobody else has the address: it need not be looked for first.
  const sure = family === "ip" ? "" : "nodad";
  return `set -e
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for n in other pod; do ip netns add $n; ip -n $n link set lo up; done
ip link add other0 type veth peer name eth0 netns other
ip link add pod0 type veth peer name eth0 netns pod
ip address add ${other}1/${length} dev other0 ${sure}
ip address add ${pod}1/${length} dev pod0 ${sure}
ip link set other0 up
ip link set pod0 up
ip -n other address add ${other}2/${length} dev eth0 ${sure}
ip -n other link set eth0 up
ip -n other route add ${networkOf(pod, addresses)} via ${other}1
ip -n other route add ${node} via ${other}1
ip -n pod address add ${pod}2/${length} dev eth0 ${sure}
ip -n pod link set eth0 up
ip -n pod route add default via ${pod}1
${family === "ip" ? "" : `ip address add fd00:30::11/64 dev eth0 nodad; ip route add default via fd00:30::1`}
nft -f - <<end
table ${family} kube-proxy {
  chain services {
    ${family} daddr ${service} udp dport 53 dnat to ${other}2
    ${family} daddr ${service} tcp dport 53 dnat to ${other}2
  }
  chain in { type nat hook prerouting priority -100; jump services; }
  chain out { type nat hook output priority -100; jump services; }
}
end
echo made`;
}

export class OtherDns implements AsyncDisposable {
  readonly machine: TestMachine;
  readonly #addresses: Addresses;
  readonly #process;
  #log = "";

  /** Resolves when it answers, and nobody else does. */
  static async open(family: 4 | 6 = 4): Promise<OtherDns> {
    const machine = await TestMachine.open();
    const addresses = addressesOf[family];
    for (const file of readdirSync(demo)) {
      const text = readFileSync(join(demo, file), "utf8");
      machine.write(`/etc/fairlead/cluster.d/${file}`, text);
    }
    const made = machine.run("sh", "-c", sceneOf(addresses));
    if (made !== "made\n") throw new Error(made);
    const scene = new OtherDns(machine, addresses);
    scene.configure();
    await scene.answeredBy(theirs);
    return scene;
  }

  private constructor(machine: TestMachine, addresses: Addresses) {
    this.machine = machine;
    this.#addresses = addresses;
    const dnsmasq = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv"];
    const options = ["--no-hosts", `--address=/#/${theirs}`, "--log-queries", "--log-facility=-"];
    const mortal = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", "other"];
    this.#process = spawn("nsenter", [...machine.enter(), ...mortal, ...dnsmasq, ...options], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process.stderr.on("data", (chunk: Buffer) => (this.#log += chunk.toString()));
  }

  /** `more` of the daemon's `dns`. */
  configure(more = ""): void {
    const { pod, service } = this.#addresses;
    const network = networkOf(pod, this.#addresses);
    const own = `addresses: ["${service}"], clients: ["${network}"]`;
    const dns = `dns: { upstreams: ["127.0.0.1:5355"], ${own} ${more} }\n`;
    this.machine.write("/etc/fairlead/fairlead.yaml", dns);
  }

  /** Queries until now. */
  get asked(): number {
    return this.#log.split("query[").length - 1;
  }

  /** From the node and from the pod, over UDP and TCP. */
  answers(): readonly string[] {
    const own = `@${this.#addresses.service}`;
    return [[], ["ip", "netns", "exec", "pod"]].flatMap((where) =>
      ["+notcp", "+tcp"].map((transport) =>
        this.machine
          .run(...where, "dig", "+short", "+tries=1", "+time=5", transport, own, name)
          .trim(),
      ),
    );
  }

  answeredBy(who: string): Promise<void> {
    return vi.waitFor(() => {
      const answers = this.answers();
      if (answers.some((answer) => answer !== who)) throw new Error(answers.join(", "));
    }, waiting);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "close");
    this.#process.kill("SIGKILL");
    await ended;
    await this.machine[Symbol.asyncDispose]();
  }
}

/** What {@link OtherDns.answers} are, when all of them come from one. */
export const all = (answer: string): readonly string[] => Array.from({ length: 4 }, () => answer);
