// What somebody may do to a daemon's objects, one at a time, and how it is seen that it is undone.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { isDeepStrictEqual } from "node:util";
import { isPodHostInterface, nftTableName, routeProtocol, vxlanDevice } from "../../core/names.ts";
import type { Change, Link } from "../../core/network.ts";
import type { ObjectChange } from "../../core/network-change.ts";
import { fdbKind, neighborKind, type ObjectKind, routeKind } from "../../core/object-kind.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ip, mac } from "../support/builders.ts";
import type { AttachedPods } from "./heal-pods.ts";
import type { TestMachine } from "./node-process.ts";

export interface Fault {
  readonly what: string;
  readonly alter: () => void | Promise<void>;
  /** Cheap, for it competes with the daemon; else seldom. */
  readonly isWhole: () => boolean;
  /** Between two looks. */
  readonly everyMs?: number;
}

type Below = (limit: number) => number;
type Maker = (below: Below) => Fault;

const files = ["/run/fairlead/node.json", "/etc/cni/net.d/10-fairlead.conflist"] as const;
const wrongMac = mac("02:00:00:00:00:99");

/** An object that counts as altered until it is told of as it was. */
interface Awaited {
  readonly key: string;
  readonly isSame: (change: ObjectChange) => boolean;
}

export class HealFaults implements Disposable {
  readonly #machine: TestMachine;
  readonly #kernel: Kernel;
  readonly #pods: AttachedPods;
  readonly #stack = new DisposableStack();
  readonly #nft: NftSession;
  #awaited: Awaited | undefined;
  /** Too many notifications to be told of each: who awaits something has to look. */
  #isBlind = false;

  private constructor(machine: TestMachine, kernel: Kernel, pods: AttachedPods, nft: NftSession) {
    this.#machine = machine;
    this.#kernel = kernel;
    this.#pods = pods;
    this.#nft = this.#stack.use(nft);
    this.#watch();
  }

  static async open(machine: TestMachine, kernel: Kernel, pods: AttachedPods): Promise<HealFaults> {
    return new HealFaults(machine, kernel, pods, await NftSession.open(machine));
  }

  #watch(): void {
    const watch = this.#kernel.watch(({ changes, overflow }) => {
      this.#isBlind ||= overflow || changes === "many";
      for (const change of changes === "many" ? [] : changes) {
        const awaited = this.#awaited;
        if (awaited?.key === keyOf(change) && awaited?.isSame(change) === true) {
          this.#awaited = undefined;
        }
      }
    });
    this.#stack.use(watch);
  }

  readonly #makers: Readonly<Record<string, Maker>> = {
    device: (below) => this.#ofLink(vxlanDevice, below),
    "device gone": () => this.#deviceGone(),
    address: (below) => this.#address(below),
    route: (below) => this.#ofRoute(this.#nodeRoutes(), below),
    neighbor: (below) => this.#ofNeighbor(this.#kernel.neighbors(vxlanDevice), below),
    "FDB entry": (below) => this.#fdb(below),
    sysctl: (below) => this.#sysctl(below),
    "nftables table": () => this.#table(() => this.#kernel.removeNft(nftTableName), "delete table"),
    "nftables chain": (below) => this.#chain(below),
    "nftables rule": (below) => this.#rule(below),
    "map element": (below) => this.#element(below),
    conflist: (below) => this.#file(files[1], below),
    "node.json": (below) => this.#file(files[0], below),
    "pod's link": (below) => this.#ofLink(this.#pod(below), below),
    "pod's route": (below) =>
      this.#ofRoute(
        this.#kernel.routes({ device: this.#pod(below) }).filter(({ type }) => type === "unicast"),
        below,
      ),
    "pod's neighbor": (below) => this.#ofNeighbor(this.#kernel.neighbors(this.#pod(below)), below),
    "pod's filter": (below) => this.#filter(this.#pod(below), below),
  };

  get kinds(): readonly string[] {
    return Object.keys(this.#makers);
  }

  make(kind: string, below: Below): Fault {
    return this.#makers[kind]!(below);
  }

  #pod(below: Below): Link["name"] {
    return pick(this.#pods.devices, below);
  }

  #nodeRoutes() {
    return this.#kernel
      .routes({ protocol: routeProtocol })
      .filter(({ device, type }) => !isPodHostInterface(device) && type === "unicast");
  }

  #apply(change: Change): void {
    this.#kernel.apply([change]);
  }

  #ofLink(device: Link["name"], below: Below): Fault {
    const before = this.#kernel.link(device)!;
    const settings = pick([{ isUp: false }, { mtu: 1300 }, { mac: wrongMac }], below);
    return {
      what: `${device} ${JSON.stringify(settings)}`,
      alter: () => this.#apply({ kind: "set-link", device, settings }),
      isWhole: () => isDeepStrictEqual(this.#kernel.link(device), before),
    };
  }

  /** With it go all neighbors, entries and routes. */
  #deviceGone(): Fault {
    const kernel = this.#kernel;
    const count = (): readonly number[] => [
      kernel.fdb(vxlanDevice).length,
      kernel.neighbors(vxlanDevice).length,
      kernel.routes({ device: vxlanDevice }).length,
    ];
    const before = count();
    return {
      what: `ip link del ${vxlanDevice}`,
      everyMs: 10,
      alter: () => this.#apply({ kind: "remove-link", device: vxlanDevice }),
      isWhole: () => kernel.link(vxlanDevice)?.isUp === true && isDeepStrictEqual(count(), before),
    };
  }

  #address(below: Below): Fault {
    const kernel = this.#kernel;
    const before = kernel.addresses(vxlanDevice);
    const other = { device: vxlanDevice, address: ip("192.0.2.1"), prefixLength: 32 };
    const change: Change =
      below(2) === 0
        ? { kind: "remove-address", address: before[0]! }
        : { kind: "add-address", address: other };
    return {
      what: change.kind,
      alter: () => this.#apply(change),
      isWhole: () => isDeepStrictEqual(kernel.addresses(vxlanDevice), before),
    };
  }

  #mirrored<T>(
    item: T,
    changes: readonly Change[],
    kind: ObjectKind<T> & {
      readonly told: ObjectChange["kind"];
      readonly list: () => readonly T[];
    },
  ): Omit<Fault, "what"> {
    const key = kind.keyOf(item);
    const isSame = (change: ObjectChange): boolean => kind.isSame(item, change.item as T);
    return {
      alter: () => {
        this.#isBlind = false;
        this.#awaited = { key: `${kind.told} ${key}`, isSame };
        this.#kernel.apply(changes);
      },
      isWhole: () =>
        this.#isBlind
          ? kind.list().some((other) => kind.keyOf(other) === key && kind.isSame(item, other))
          : this.#awaited === undefined,
    };
  }

  #ofRoute(routes: ReturnType<Kernel["routes"]>, below: Below): Fault {
    const route = pick(routes, below);
    const altered = { ...route, protocol: 3 };
    const change: Change = pick(
      [
        { kind: "remove-route", route },
        { kind: "replace-route", route: altered },
      ] as const,
      below,
    );
    return {
      what: `${change.kind} ${route.destination}`,
      ...this.#mirrored(route, [change], {
        ...routeKind,
        told: "route",
        list: () => this.#kernel.routes({ device: route.device }),
      }),
    };
  }

  #ofNeighbor(neighbors: ReturnType<Kernel["neighbors"]>, below: Below): Fault {
    const neighbor = pick(neighbors, below);
    const change: Change = pick(
      [
        { kind: "remove-neighbor", neighbor },
        { kind: "replace-neighbor", neighbor: { ...neighbor, mac: wrongMac } },
      ] as const,
      below,
    );
    return {
      what: `${change.kind} ${neighbor.address}`,
      ...this.#mirrored(neighbor, [change], {
        ...neighborKind,
        told: "neighbor",
        list: () => this.#kernel.neighbors(neighbor.device),
      }),
    };
  }

  #fdb(below: Below): Fault {
    const entry = pick(this.#kernel.fdb(vxlanDevice), below);
    const other = { ...entry, destination: ip("192.0.2.77") };
    const changes: readonly Change[] =
      below(2) === 0
        ? [{ kind: "remove-fdb", entry }]
        : [
            { kind: "remove-fdb", entry },
            { kind: "replace-fdb", entry: other },
          ];
    return {
      what: `${changes.length === 1 ? "remove" : "alter"} ${entry.mac}`,
      ...this.#mirrored(entry, changes, {
        ...fdbKind,
        told: "fdb",
        list: () => this.#kernel.fdb(vxlanDevice),
      }),
    };
  }

  #sysctl(below: Below): Fault {
    return below(2) === 0
      ? this.#setting("net/ipv4/ip_forward", "0")
      : this.#setting(`net/ipv4/conf/${vxlanDevice}/rp_filter`, "1");
  }

  #filter(device: string, below: Below): Fault {
    return this.#setting(`net/ipv4/conf/${device}/rp_filter`, String(2 * below(2)));
  }

  #setting(name: string, value: string): Fault {
    const kernel = this.#kernel;
    const before = kernel.readSysctl(name);
    return {
      what: `sysctl ${name}=${value}`,
      alter: () => kernel.writeSysctl(name, value),
      isWhole: () => kernel.readSysctl(name) === before,
    };
  }

  #table(alter: () => void | Promise<void>, what: string): Fault {
    const before = this.#kernel.observeNft(nftTableName);
    return {
      what,
      alter,
      isWhole: () => isDeepStrictEqual(this.#kernel.observeNft(nftTableName), before),
    };
  }

  #line(line: string): Fault {
    return this.#table(() => this.#nft.do(line), line);
  }

  #chain(below: Below): Fault {
    const table = `inet ${nftTableName}`;
    return this.#line(
      pick(
        [
          `flush chain ${table} postrouting`,
          `add chain ${table} theirs { type filter hook forward priority 0; policy drop; }`,
        ],
        below,
      ),
    );
  }

  #rule(below: Below): Fault {
    const table = `inet ${nftTableName}`;
    return this.#line(
      pick(
        [
          `add rule ${table} postrouting counter`,
          `insert rule ${table} raw-in drop`,
          `delete element ${table} inside4 { 224.0.0.0/4 }`,
          `add element ${table} inside4 { 198.51.100.0/24 }`,
        ],
        below,
      ),
    );
  }

  #element(below: Below): Fault {
    const kernel = this.#kernel;
    const at = below(this.#pods.elements.length);
    const maps = this.#pods.elements[at]!;
    const others = this.#pods.elements[(at + 1) % this.#pods.elements.length]!;
    const isGone = below(2) === 0;
    // The hostPort leads to another pod.
    const misled = maps.map((map, m) => ({
      ...map,
      elements: map.elements.map(({ key, value }, e) => ({
        key,
        value: value.length === 0 ? value : others[m]!.elements[e]!.value,
      })),
    }));
    return {
      what: isGone ? "remove a hostPort" : "mislead a hostPort",
      alter: () => {
        kernel.removeNftElements(nftTableName, maps);
        if (!isGone) {
          kernel.putNftElements({ name: nftTableName, sets: [], maps: misled, chains: [] });
        }
      },
      isWhole: () => kernel.missingNftElements(nftTableName, maps).length === 0,
    };
  }

  #file(inside: string, below: Below): Fault {
    const path = this.#machine.path(inside);
    const before = readFileSync(path, "utf8");
    const isGone = below(2) === 0;
    return {
      what: `${isGone ? "remove" : "alter"} ${inside}`,
      alter: () => (isGone ? rmSync(path) : writeFileSync(path, `${before}\n`)),
      isWhole: () => readIfThere(path) === before,
    };
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

const pick = <T>(items: readonly T[], below: Below): T => items[below(items.length)]!;

function keyOf(change: ObjectChange): string | undefined {
  switch (change.kind) {
    case "route":
      return `route ${routeKind.keyOf(change.item)}`;
    case "neighbor":
      return `neighbor ${neighborKind.keyOf(change.item)}`;
    case "fdb":
      return `fdb ${fdbKind.keyOf(change.item)}`;
    default:
      return undefined;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** One `nft -i`: a process for each command would take longer than a repair. */
class NftSession implements Disposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  #said = "";

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#process = child;
    child.stdout.on("data", (chunk: Buffer) => (this.#said += chunk.toString()));
  }

  static async open(machine: TestMachine): Promise<NftSession> {
    const child = spawn("nsenter", [`--net=${machine.network}`, "nft", "-i"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const session = new NftSession(child);
    await session.do("");
    return session;
  }

  /** Resolves when the command is done: the answer to the next one has come. */
  async do(line: string): Promise<void> {
    this.#said = "";
    this.#process.stdin.write(`${line}\ndescribe ip saddr\n`);
    while (!this.#said.includes("payload expression")) await once(this.#process.stdout, "data");
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
  }
}
