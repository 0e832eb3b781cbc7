// What every Kernel promises of our nftables table; with Linux, nft(8) is asked what is really there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { hostPortTable, withHostPorts } from "../../core/desired/host-ports.ts";
import type { NftRule, NftTable } from "../../core/nft.ts";
import { asObserved, formatNftTable } from "../../core/nft.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { cidr, ip } from "../support/builders.ts";
import { type Scene, failureOf, kernels } from "./kernels.ts";
import { expectTable, masquerade, normal, table } from "./nft-table.ts";

const waiting = { timeout: 30_000, interval: 20 };

describe.each(kernels)("nftables of %s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
  });
  afterEach(() => scene[Symbol.dispose]());

  const expectInPlace = (wanted: NftTable): void => expectTable(scene, wanted);

  test("a table is applied once, observed as applied, and removed", () => {
    expect(kernel.observeNft("fairlead")).toBeUndefined();
    expect(kernel.applyNft(table)).not.toEqual([]);
    expectInPlace(table);
    expect(kernel.applyNft(table)).toEqual([]);
    kernel.removeNft("fairlead");
    expect(kernel.observeNft("fairlead")).toBeUndefined();
    kernel.removeNft("fairlead");
  });

  test("the table of hostPorts is as nft lists it", () => {
    const wanted = withHostPorts(hostPortTable([ip("10.96.0.10"), ip("fd00::a")]), [
      {
        addresses: [ip("10.244.1.2"), ip("fd00::2")],
        portMappings: [
          { protocol: "tcp", hostPort: 8080, containerPort: 80 },
          { protocol: "udp", hostIp: ip("192.0.2.1"), hostPort: 53, containerPort: 53 },
          { protocol: "sctp", hostIp: ip("2001:db8::1"), hostPort: 1, containerPort: 65_535 },
        ],
      },
    ]);
    kernel.applyNft(wanted);
    expectInPlace(wanted);
  });

  const [pods4, pods6, none6] = table.sets;
  const [ports4, ports6, pairs6, pairs4] = table.maps;
  const [ports, portsIn, portsBack, postrouting, untracked, input, extra] = table.chains;
  const ofPorts = [ports!, portsIn!, portsBack!];
  test.each([
    ["nothing in it", { ...table, sets: [], maps: [], chains: [] }],
    [
      "fewer and other elements",
      { ...table, sets: [{ ...pods4!, elements: [cidr("10.0.0.0/24")] }, pods6!, none6!] },
    ],
    [
      "elements where there were none",
      { ...table, sets: [pods4!, pods6!, { ...none6!, elements: [cidr("::/0")] }] },
    ],
    [
      "another rule",
      {
        ...table,
        chains: [...ofPorts, { ...postrouting!, rules: [masquerade] }, untracked!, input!, extra!],
      },
    ],
    [
      "another comment",
      {
        ...table,
        chains: [
          ...ofPorts,
          { ...postrouting!, rules: [{ ...masquerade, comment: "other" }] },
          untracked!,
          input!,
          extra!,
        ],
      },
    ],
    [
      "its rules in another order",
      {
        ...table,
        chains: [
          ...ofPorts,
          { ...postrouting!, rules: postrouting!.rules.toReversed() },
          untracked!,
          input!,
          extra!,
        ],
      },
    ],
    [
      "fewer and other map elements, and one key leading elsewhere",
      {
        ...table,
        maps: [
          {
            ...ports4!,
            elements: [
              { key: ["tcp", 8080], value: [ip("10.244.1.9"), 80] },
              { key: ["tcp", 8081], value: [ip("10.244.1.2"), 80] },
            ],
          },
          ports6!,
          { ...pairs6!, elements: [] },
          pairs4!,
        ],
      },
    ],
    [
      "a map of another type",
      {
        ...table,
        maps: [
          ports4!,
          ports6!,
          pairs6!,
          { ...pairs4!, key: ["ipv4_addr", "inet_service"], elements: [] },
        ],
        chains: [postrouting!, ports!],
      },
    ],
    ["fewer chains and sets", { ...table, sets: [pods6!], maps: [], chains: [extra!] }],
    [
      "a set of the other family",
      {
        ...table,
        sets: [pods6!, { ...none6!, family: 4 as const, elements: [ip("10.0.0.1")] }],
        maps: [],
        chains: [extra!],
      },
    ],
  ] satisfies [string, NftTable][])("a table becomes one with %s, and back", (_what, other) => {
    kernel.applyNft(table);
    expect(kernel.applyNft(other)).not.toEqual([]);
    const ordered = kernel.observeNft("fairlead");
    expect(ordered).toEqual(asObserved(other));
    expect(kernel.applyNft(other)).toEqual([]);
    expect(kernel.applyNft(table)).not.toEqual([]);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(table));
  });

  test("a base chain moves to another hook", () => {
    kernel.applyNft(table);
    const moved = { ...input!, hook: { type: "filter", hook: "forward", priority: 0 } } as const;
    const other = { ...table, chains: [...ofPorts, postrouting!, untracked!, extra!, moved] };
    expect(kernel.applyNft(other)).not.toEqual([]);
    expectInPlace(other);
  });

  test.each([-301, -10, 1, 11, 61, 100])("a base chain has priority %i", (priority) => {
    const chains = (["prerouting", "postrouting"] as const).map((hook) => ({
      name: hook,
      hook: { type: "filter" as const, hook, priority },
      rules: [],
    }));
    const wanted = { ...table, sets: [], maps: [], chains };
    kernel.applyNft(wanted);
    expectInPlace(wanted);
  });

  test("a set holds thousands of networks", () => {
    const elements = Array.from({ length: 5000 }, (_, i) => cidr(`10.${i >> 8}.${i & 255}.0/25`));
    const large = { ...table, sets: [{ ...pods4!, elements }, pods6!, none6!] };
    kernel.applyNft(large);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(large));
    const fewer = {
      ...large,
      sets: [{ ...pods4!, elements: elements.slice(2000) }, pods6!, none6!],
    };
    kernel.applyNft(fewer);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(fewer));
  });
});

describe("nftables of Linux alone", () => {
  const [, openScene] = kernels[1]!;
  let scene: Scene;
  beforeEach(() => {
    scene = openScene();
    scene.kernel.applyNft(table);
  });
  afterEach(() => scene[Symbol.dispose]());
  const nft = (...words: readonly string[]): string => scene.run!("nft", ...words);

  test.each([
    "add rule inet fairlead postrouting counter",
    "insert rule inet fairlead input drop",
    "flush chain inet fairlead postrouting",
    "add chain inet fairlead foreign",
    "add chain inet fairlead input { policy drop; }",
    "add element inet fairlead pods4 { 198.51.100.3-198.51.100.9 }",
    "delete element inet fairlead pods4 { 192.0.2.1 }",
    "flush set inet fairlead pods6",
    "delete element inet fairlead ports4 { tcp . 8080 }",
    "add element inet fairlead ports4 { tcp . 1 : 10.0.0.1 . 1, icmp . 2 : 10.0.0.1 . 2 }",
    "add element inet fairlead pairs4 { 10.0.0.1 . 10.0.0.2 }",
    "flush set inet fairlead pairs6",
    "flush chain inet fairlead ports",
    "add map inet fairlead foreign { type mark : verdict; }",
    "add set inet fairlead foreign { type inet_service; }",
    "flush table inet fairlead",
    "delete table inet fairlead",
    "add chain inet fairlead foreign; add rule inet fairlead foreign jump extra",
    "add table inet fairlead { flags dormant; }",
    "add table inet fairlead { flags dormant; }; flush chain inet fairlead postrouting; delete chain inet fairlead input",
    "rename chain inet fairlead ports foreign",
    "rename chain inet fairlead ports foreign; flush chain inet fairlead postrouting",
    "add chain inet fairlead foreign; add map inet fairlead verdicts { type ipv4_addr : verdict; elements = { 1.1.1.1 : jump foreign }; }",
  ])("heals what `nft %s` did", (damage) => {
    nft(damage);
    expect(scene.kernel.observeNft("fairlead")).not.toEqual(asObserved(table));
    expect(scene.kernel.applyNft(table)).not.toEqual([]);
    expect(scene.kernel.observeNft("fairlead")).toEqual(asObserved(table));
    expect(sorted(nft("list", "table", "inet", "fairlead"))).toEqual(sorted(formatNftTable(table)));
    expect(scene.kernel.applyNft(table)).toEqual([]);
  });

  test.each([
    ["delete table inet fairlead", ["no table"], "add the table"],
    [
      "add table inet fairlead { flags dormant; }",
      ["a table with flags dormant"],
      "clear flags dormant of the table",
    ],
    ["add chain inet fairlead foreign", ["a chain foreign"], "remove chain foreign"],
    [
      "rename chain inet fairlead ports foreign",
      ["a chain foreign, no chain ports"],
      "remove the table",
    ],
    [
      "flush chain inet fairlead input",
      ["other rules in chain input"],
      'add rule "dns" to chain input',
    ],
    [
      "add chain inet fairlead input { policy drop; }",
      ["chain input of another hook"],
      "empty chain input",
    ],
    ["flush set inet fairlead pods6", ["other elements in set pods6"], "add elements to set pods6"],
    [
      "delete element inet fairlead ports4 { tcp . 8080 }",
      ["other elements in map ports4"],
      "add elements to map ports4",
    ],
    ["add set inet fairlead foreign { type mark; }", ["a set foreign"], "remove set foreign"],
  ])("says what `nft %s` did, and what is done first", (damage, found, done) => {
    nft(damage);
    const steps = scene.kernel.applyNft(table);
    expect([...new Set(steps.map((step) => step.found))]).toEqual(found);
    expect(steps[0]?.done).toBe(done);
  });

  test("a table that a program owns is put right when that ends", async () => {
    const { kernel, path } = scene;
    kernel.removeNft("fairlead");
    const owner = spawn("nsenter", [`--net=${path}`, "nft", "-i"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    const ended = once(owner, "close");
    owner.stdin.write("add table inet fairlead { flags owner; }\n");
    await vi.waitFor(
      () => expect(kernel.observeNft("fairlead")?.flags).toEqual(["owner"]),
      waiting,
    );
    expect(failureOf(() => kernel.applyNft(table))).toMatchObject({
      errno: "EPERM",
      message: expect.stringContaining("the program that made it owns it, and runs"),
    });
    owner.stdin.end();
    await ended;
    await vi.waitFor(() => kernel.applyNft(table), waiting);
    expectTable(scene, table);
  });

  test("leaves alone what is right: other chains keep their rules, other tables everything", () => {
    nft("add table ip theirs; add chain ip theirs one { type filter hook input priority 0; }");
    const before = nft("-a", "list", "ruleset").split("\n");
    nft("flush chain inet fairlead input");
    scene.kernel.applyNft(table);
    const after = nft("-a", "list", "ruleset").split("\n");
    expect(before.filter((line) => !after.includes(line))).toEqual([
      expect.stringContaining('tcp dport 53 return comment "dns"'),
    ]);
    scene.kernel.removeNft("fairlead");
    expect(nft("list", "tables")).toBe("table ip theirs\n");
  });

  test("a transaction that fails changes nothing and names the step", () => {
    const postrouting = table.chains.find(({ name }) => name === "postrouting");
    const rule: NftRule = {
      statements: [
        { kind: "match-set", field: "saddr", family: 4, set: "missing", isInverted: false },
      ],
      comment: "broken",
    };
    const broken = { ...table, chains: [{ ...postrouting!, rules: [masquerade, rule] }] };
    const failure = failureOf(() => scene.kernel.applyNft(broken));
    expect(failure).toMatchObject({
      errno: "ENOENT",
      message:
        'Cannot apply the nftables table "fairlead": add rule "broken" to chain postrouting: ENOENT',
    });
    expect(scene.kernel.observeNft("fairlead")).toEqual(asObserved(table));
  });
});

/** Chains come back at another place when they are made anew. */
const sorted = (text: string): readonly string[] => normal(text).split("\n").sort();
