// What every Kernel promises of our nftables table; with Linux, nft(8) is asked what is really there.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { NftRule, NftTable } from "../../core/nft.ts";
import { asObserved, formatNftTable } from "../../core/nft.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { cidr, ip } from "../support/builders.ts";
import { type Scene, failureOf, kernels } from "./kernels.ts";

const masquerade: NftRule = {
  statements: [
    { kind: "match-set", field: "saddr", family: 4, set: "pods4", isInverted: false },
    { kind: "match-set", field: "daddr", family: 4, set: "pods4", isInverted: true },
    { kind: "match-interface", field: "oifname", name: "lo", isInverted: true },
    { kind: "masquerade", fullyRandom: true },
  ],
  comment: "pods to the outside",
};

/** One of every set shape, hook and statement. */
const table: NftTable = {
  name: "fairlead",
  sets: [
    {
      name: "pods4",
      family: 4,
      elements: [
        cidr("10.244.0.0/16"),
        cidr("10.244.7.0/24"),
        cidr("10.0.0.0/25"),
        cidr("10.0.0.128/25"),
        ip("192.0.2.1"),
        cidr("0.0.0.0/8"),
        cidr("224.0.0.0/3"),
      ],
    },
    {
      name: "pods6",
      family: 6,
      elements: [cidr("fd00::/64"), ip("2001:db8::1"), cidr("ff00::/8")],
    },
    { name: "none6", family: 6, elements: [] },
  ],
  chains: [
    {
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100 },
      rules: [
        masquerade,
        {
          statements: [
            { kind: "match-set", field: "saddr", family: 6, set: "pods6", isInverted: false },
            { kind: "masquerade", fullyRandom: false },
          ],
          comment: "",
        },
      ],
    },
    {
      name: "untracked",
      hook: { type: "filter", hook: "prerouting", priority: -300 },
      rules: [
        {
          statements: [
            { kind: "match-interface", field: "iifname", name: "eth0", isInverted: false },
            { kind: "match-port", protocol: "udp", port: 4789 },
            { kind: "notrack" },
          ],
          comment: "outer packets",
        },
      ],
    },
    {
      name: "input",
      hook: { type: "filter", hook: "input", priority: 7 },
      rules: [
        {
          statements: [{ kind: "match-port", protocol: "tcp", port: 53 }, { kind: "accept" }],
          comment: "dns",
        },
      ],
    },
    { name: "extra", rules: [{ statements: [{ kind: "return" }], comment: "" }] },
  ],
};

/** nft breaks long lists of elements; the line breaks say nothing. */
const unbroken = (text: string): string => text.replaceAll(/,\n\s+/g, ", ");

describe.each(kernels)("nftables of %s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
  });
  afterEach(() => scene[Symbol.dispose]());

  const expectInPlace = (wanted: NftTable): void => {
    expect(kernel.observeNft(wanted.name)).toEqual(asObserved(wanted));
    if (scene.run === undefined) return;
    const listed = scene.run("nft", "list", "table", "inet", wanted.name);
    expect(unbroken(listed)).toBe(formatNftTable(wanted));
  };

  test("a table is applied once, observed as applied, and removed", () => {
    expect(kernel.observeNft("fairlead")).toBeUndefined();
    expect(kernel.applyNft(table)).toBe(true);
    expectInPlace(table);
    expect(kernel.applyNft(table)).toBe(false);
    kernel.removeNft("fairlead");
    expect(kernel.observeNft("fairlead")).toBeUndefined();
    kernel.removeNft("fairlead");
  });

  const [pods4, pods6, none6] = table.sets;
  const [postrouting, untracked, input, extra] = table.chains;
  test.each([
    ["nothing in it", { ...table, sets: [], chains: [] }],
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
      { ...table, chains: [{ ...postrouting!, rules: [masquerade] }, untracked!, input!, extra!] },
    ],
    [
      "another comment",
      {
        ...table,
        chains: [
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
          { ...postrouting!, rules: postrouting!.rules.toReversed() },
          untracked!,
          input!,
          extra!,
        ],
      },
    ],
    ["fewer chains and sets", { ...table, sets: [pods6!], chains: [extra!] }],
    [
      "a set of the other family",
      {
        ...table,
        sets: [pods6!, { ...none6!, family: 4 as const, elements: [ip("10.0.0.1")] }],
        chains: [extra!],
      },
    ],
  ] satisfies [string, NftTable][])("a table becomes one with %s, and back", (_what, other) => {
    kernel.applyNft(table);
    expect(kernel.applyNft(other)).toBe(true);
    const ordered = kernel.observeNft("fairlead");
    expect(ordered).toEqual(asObserved(other));
    expect(kernel.applyNft(other)).toBe(false);
    expect(kernel.applyNft(table)).toBe(true);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(table));
  });

  test("a base chain moves to another hook", () => {
    kernel.applyNft(table);
    const moved = { ...input!, hook: { type: "filter", hook: "forward", priority: 0 } } as const;
    const other = { ...table, chains: [postrouting!, untracked!, extra!, moved] };
    expect(kernel.applyNft(other)).toBe(true);
    expectInPlace(other);
  });

  test.each([-301, -10, 1, 11, 61, 100])("a base chain has priority %i", (priority) => {
    const chains = (["prerouting", "postrouting"] as const).map((hook) => ({
      name: hook,
      hook: { type: "filter" as const, hook, priority },
      rules: [],
    }));
    const wanted = { ...table, sets: [], chains };
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
    "add set inet fairlead foreign { type inet_service; }",
    "flush table inet fairlead",
    "delete table inet fairlead",
    "add chain inet fairlead foreign; add rule inet fairlead foreign jump extra",
  ])("heals what `nft %s` did", (damage) => {
    nft(damage);
    expect(scene.kernel.observeNft("fairlead")).not.toEqual(asObserved(table));
    expect(scene.kernel.applyNft(table)).toBe(true);
    expect(scene.kernel.observeNft("fairlead")).toEqual(asObserved(table));
    expect(sorted(nft("list", "table", "inet", "fairlead"))).toEqual(sorted(formatNftTable(table)));
    expect(scene.kernel.applyNft(table)).toBe(false);
  });

  test("leaves alone what is right: other chains keep their rules, other tables everything", () => {
    nft("add table ip theirs; add chain ip theirs one { type filter hook input priority 0; }");
    const before = nft("-a", "list", "ruleset").split("\n");
    nft("flush chain inet fairlead input");
    scene.kernel.applyNft(table);
    const after = nft("-a", "list", "ruleset").split("\n");
    expect(before.filter((line) => !after.includes(line))).toEqual([
      expect.stringContaining('tcp dport 53 accept comment "dns"'),
    ]);
    scene.kernel.removeNft("fairlead");
    expect(nft("list", "tables")).toBe("table ip theirs\n");
  });

  test("a transaction that fails changes nothing and names the step", () => {
    const [postrouting] = table.chains;
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
const sorted = (text: string): readonly string[] => unbroken(text).split("\n").sort();
