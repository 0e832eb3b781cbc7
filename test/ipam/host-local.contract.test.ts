// Every key of host-local's configuration and every mistake in it, given to the Go binary and to ours:
// the same result and the same files, or both refuse and leave the same behind.
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { tryLock } from "../../kernel/flock.ts";
import { callIpam } from "./ipam-call.ts";
import { type DataDir, createDataDir } from "./lease-directory.ts";
import { referenceDir } from "./plugin-process.ts";

let reference: DataDir;
let ours: DataDir;
beforeEach(() => {
  reference = createDataDir();
  ours = createDataDir();
});
afterEach(() => {
  reference[Symbol.dispose]();
  ours[Symbol.dispose]();
});

interface Case {
  readonly ipam?: object | undefined;
  /** Beside name and ipam. */
  readonly conf?: object;
  readonly args?: string;
  readonly command?: string;
  /** Default: one. */
  readonly containers?: readonly string[];
}

interface Outcome {
  /** Of each request: ips, routes and DNS, or "refused". */
  readonly answers: readonly unknown[];
  /** Code and message of each; empty where it was answered. */
  readonly errors: readonly string[];
  readonly files: Readonly<Record<string, string>>;
}

const kept = (path: string): Record<string, string> => {
  const directory = join(path, "mynet");
  if (!existsSync(directory)) return {};
  return Object.fromEntries(
    readdirSync(directory)
      .filter((name) => name !== "lock")
      .sort()
      .map((name) => [name, readFileSync(join(directory, name), "utf8")]),
  );
};

function answerOf(stdout: string): { readonly answer: unknown; readonly error: string } {
  const { ips, routes, dns, code, msg } = (stdout === "" ? {} : JSON.parse(stdout)) as Record<
    string,
    unknown
  >;
  if (code !== undefined || msg !== undefined) {
    return { answer: "refused", error: `${String(code)} ${String(msg)}` };
  }
  return { answer: { ips, routes: routes ?? [], dns: dns ?? {} }, error: "" };
}

const confOf = ({ ipam, conf }: Case, dataDir: string): object => ({
  cniVersion: "1.0.0",
  name: "mynet",
  type: "bridge",
  ...(ipam && { ipam: { type: "host-local", dataDir, ...ipam } }),
  ...conf,
});

async function byReference(given: Case): Promise<Outcome> {
  const answers: unknown[] = [];
  const errors: string[] = [];
  for (const container of given.containers ?? ["a"]) {
    const stdout = await new Promise<string>((resolve) => {
      const env = {
        CNI_COMMAND: given.command ?? "ADD",
        CNI_CONTAINERID: container,
        CNI_NETNS: "/run/netns/none",
        CNI_IFNAME: "eth0",
        CNI_PATH: referenceDir,
        CNI_ARGS: given.args ?? "",
      };
      const child = execFile(join(referenceDir, "host-local"), { env }, (_, out) => resolve(out));
      child.stdin?.end(JSON.stringify(confOf(given, reference.path)));
    });
    const { answer, error } = answerOf(stdout);
    answers.push(answer);
    errors.push(error);
  }
  return { answers, errors, files: kept(reference.path) };
}

async function byOurs(given: Case): Promise<Outcome> {
  const answers: unknown[] = [];
  const errors: string[] = [];
  for (const container of given.containers ?? ["a"]) {
    const { stdout } = await callIpam(ours, {
      container,
      command: given.command ?? "ADD",
      args: given.args ?? "",
      ipam: given.ipam,
      // As a whole: the type is what host-local is installed as.
      conf: confOf(given, ours.path),
    });
    const { answer, error } = answerOf(stdout);
    answers.push(answer);
    errors.push(error);
  }
  return { answers, errors, files: kept(ours.path) };
}

const subnet = "10.1.2.0/24";
const set = (...subnets: readonly string[]) => subnets.map((one) => ({ subnet: one }));

describe("is answered alike", () => {
  const dual = { ranges: [set(subnet), set("fd00:1:2::/64")] };
  test.each<[string, Case]>([
    ["ranges of both families", { ipam: dual, containers: ["a", "b"] }],
    [
      "a set of several ranges",
      { ipam: { ranges: [set("10.1.2.0/30", "10.1.3.0/30")] }, containers: ["a", "b"] },
    ],
    [
      "the old flat keys",
      { ipam: { subnet, rangeStart: "10.1.2.9", rangeEnd: "10.1.2.20", gateway: "10.1.2.30" } },
    ],
    ["the old flat keys beside ranges", { ipam: { subnet, ranges: [set("10.1.3.0/24")] } }],
    [
      "ipRanges before all others",
      {
        ipam: { subnet, ranges: [set("10.1.3.0/24")] },
        conf: { runtimeConfig: { ipRanges: [set("10.1.4.0/24")] } },
      },
    ],
    [
      "keys in any case",
      {
        ipam: { SUBNET: subnet, rangestart: "10.1.2.9", RangeEnd: "10.1.2.9", GateWay: "10.1.2.1" },
      },
    ],
    [
      "keys that nobody knows",
      { ipam: { subnet, colour: "red" }, conf: { runtimeConfig: { mood: 1 } } },
    ],
    [
      "bounds on the ends of the subnet",
      {
        ipam: {
          ranges: [[{ subnet: "10.1.2.0/30", rangeStart: "10.1.2.0", rangeEnd: "10.1.2.3" }]],
        },
        containers: ["a", "b", "c", "d"],
      },
    ],
    [
      "a range that carries in IPv6",
      {
        ipam: {
          ranges: [[{ subnet: "fd00::/64", rangeStart: "fd00::ffff", rangeEnd: "fd00::1:1" }]],
        },
        containers: ["a", "b", "c", "d"],
      },
    ],
    [
      "a gateway outside the range",
      { ipam: { subnet, rangeStart: "10.1.2.40", rangeEnd: "10.1.2.50", gateway: "10.1.2.254" } },
    ],
    ["a gateway outside the subnet", { ipam: { subnet, gateway: "10.9.9.9" } }],
    [
      "two windows of one subnet",
      {
        ipam: {
          ranges: [[{ subnet, rangeEnd: "10.1.2.127" }], [{ subnet, rangeStart: "10.1.2.128" }]],
        },
      },
    ],
    [
      "routes",
      {
        ipam: {
          ...dual,
          routes: [
            { dst: "0.0.0.0/0" },
            { dst: "192.168.0.0/16", gw: "10.1.2.9" },
            { dst: "::/0" },
          ],
        },
      },
    ],
    ["a /30 and a /126", { ipam: { ranges: [set("10.1.2.0/30"), set("fd00::/126")] } }],
    ["a range until it is full", { ipam: { subnet: "10.1.2.0/30" }, containers: ["a", "b"] }],
    ["IP in CNI_ARGS", { ipam: { subnet }, args: "IP=10.1.2.11" }],
    ["IP in CNI_ARGS with a prefix", { ipam: { subnet }, args: "IgnoreUnknown=1;IP=10.1.2.11/24" }],
    [
      "args.cni.ips",
      { ipam: dual, conf: { args: { cni: { ips: ["10.1.2.88/24", "fd00:1:2::999"] } } } },
    ],
    [
      "runtimeConfig.ips",
      { ipam: dual, conf: { runtimeConfig: { ips: ["fd00:1:2::9/64", "10.1.2.9"] } } },
    ],
    [
      "an address from each channel",
      {
        ipam: { ranges: [set(subnet), set("10.1.3.0/24"), set("10.1.4.0/24")] },
        args: "IP=10.1.2.5",
        conf: { args: { cni: { ips: ["10.1.3.5"] } }, runtimeConfig: { ips: ["10.1.4.5"] } },
      },
    ],
    ["a check of nobody's address", { ipam: { subnet }, command: "CHECK" }],
    ["a DEL of nobody's address", { ipam: { subnet }, command: "DEL" }],
  ])("%s", async (_, given) => {
    const [theirs, mine] = [await byReference(given), await byOurs(given)];
    expect(mine.answers).toEqual(theirs.answers);
    expect(mine.files).toEqual(theirs.files);
  });

  test("hl-disk-09: under one lock, `lock` in the network's directory", async () => {
    const given = { ipam: { subnet } };
    const order: string[] = [];
    await byReference(given);
    {
      using _held = tryLock(join(reference.path, "mynet/lock"), "exclusive");
      void byReference({ ...given, command: "DEL" }).then(() => order.push("answered"));
      await new Promise((resolve) => setTimeout(resolve, 100));
      order.push("released");
    }
    await vi.waitFor(() => expect(order).toEqual(["released", "answered"]), { timeout: 30_000 });
    await byOurs(given);
    expect(existsSync(join(ours.path, "mynet/lock"))).toBe(true);
  });

  test("resolvConf", async () => {
    const resolvConf = join(ours.path, "resolv.conf");
    const text =
      "# c\n; c\nnameserver 192.0.2.53\nnameserver 192.0.2.54\ndomain d.example\nsearch a b\nsearch c\noptions ndots:2 rotate\n";
    writeFileSync(resolvConf, text);
    const given = { ipam: { subnet, resolvConf } };
    expect((await byOurs(given)).answers).toEqual((await byReference(given)).answers);
  });
});

describe("is refused by both, and leaves nothing", () => {
  test.each<[string, Case]>([
    ["no ipam", { ipam: undefined }],
    ["no range", { ipam: {} }],
    ["an empty set", { ipam: { ranges: [[]] } }],
    ["ranges that overlap in a set", { ipam: { ranges: [set("10.1.0.0/22", "10.1.2.0/24")] } }],
    ["sets that overlap", { ipam: { ranges: [set("10.1.0.0/22"), set("10.1.2.0/24")] } }],
    ["a set of both families", { ipam: { ranges: [set(subnet, "fd00::/64")] } }],
    ["a start after the end", { ipam: { subnet, rangeStart: "10.1.2.20", rangeEnd: "10.1.2.9" } }],
    ["a start outside", { ipam: { subnet, rangeStart: "10.1.3.0" } }],
    ["an end outside", { ipam: { subnet, rangeEnd: "10.1.3.0" } }],
    ["a subnet with host bits", { ipam: { subnet: "10.1.2.12/24" } }],
    ["an IPv6 subnet with host bits", { ipam: { subnet: "2001:DB8:24:19ff::/63" } }],
    ["a subnet that is none", { ipam: { subnet: "10.1.2.0" } }],
    ["a mapped subnet", { ipam: { subnet: "::ffff:10.1.2.0/120" } }],
    ["a /31", { ipam: { subnet: "10.1.2.0/31" } }],
    ["a /32", { ipam: { subnet: "10.1.2.1/32" } }],
    ["a /127", { ipam: { subnet: "fd00::/127" } }],
    ["a /128", { ipam: { subnet: "fd00::1/128" } }],
    ["a bound that is no address", { ipam: { subnet, rangeStart: "first" } }],
    ["a gateway that is no address", { ipam: { subnet, gateway: "there" } }],
    ["a resolvConf that is not there", { ipam: { subnet, resolvConf: "/nowhere/resolv.conf" } }],
    ["a requested address outside", { ipam: { subnet }, args: "IP=10.1.3.9" }],
    [
      "a requested address before the start",
      { ipam: { subnet, rangeStart: "10.1.2.9" }, args: "IP=10.1.2.8" },
    ],
    ["the gateway requested", { ipam: { subnet }, args: "IP=10.1.2.1" }],
    [
      "two addresses of one set requested",
      {
        ipam: { ranges: [set(subnet), set("10.1.3.0/24")] },
        conf: { runtimeConfig: { ips: ["10.1.2.88", "10.1.2.77"] } },
      },
    ],
    ["a requested address that is none", { ipam: { subnet }, args: "IP=test" }],
    [
      "one that is none in args",
      { ipam: { subnet }, conf: { args: { cni: { ips: ["192.168.0.1000"] } } } },
    ],
    [
      "one that is none in runtimeConfig",
      { ipam: { subnet }, conf: { runtimeConfig: { ips: ["2001:db8::1/256"] } } },
    ],
    [
      "a second set that is full",
      {
        ipam: {
          ranges: [
            set(subnet),
            [{ subnet: "10.1.3.0/24", rangeStart: "10.1.3.1", rangeEnd: "10.1.3.1" }],
          ],
        },
      },
    ],
    [
      "two sets of a family in 0.2.0",
      { ipam: { ranges: [set(subnet), set("10.1.3.0/24")] }, conf: { cniVersion: "0.2.0" } },
    ],
  ])("%s", async (_, given) => {
    const [theirs, mine] = [await byReference(given), await byOurs(given)];
    expect([theirs.answers, mine.answers]).toEqual([["refused"], ["refused"]]);
    const addresses = (files: object): string[] =>
      Object.keys(files).filter((name) => !name.startsWith("last_reserved_ip"));
    expect([addresses(theirs.files), addresses(mine.files)]).toEqual([[], []]);
    // A mistake of the configuration or the environment, not of the disk or the machine. 11: without
    // ranges ours are the node's, of which nothing is known here.
    expect(mine.errors[0]).toMatch(/^(4|7|11|100) /);
  });

  test("an address requested twice: the second time", async () => {
    const given = { ipam: { subnet }, args: "IP=10.1.2.5", containers: ["a", "b"] };
    const [theirs, mine] = [await byReference(given), await byOurs(given)];
    expect(theirs.answers[1]).toBe("refused");
    expect(mine.answers).toEqual(theirs.answers);
    expect(mine.files).toEqual(theirs.files);
    expect(mine.errors[1]).toContain('"10.1.2.5" of network "mynet": it is held by another');
  });
});
