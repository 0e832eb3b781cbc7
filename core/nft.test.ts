import fc from "fast-check";
import { expect, test } from "vitest";
import { cidr, ip } from "../test/support/builders.ts";
import { type Cidr, cidrContains, cidrOf, ipFromBigInt } from "./address.ts";
import {
  type NftChain,
  type NftTable,
  asObserved,
  formatNftTable,
  joinTables,
  normalElements,
  nftRuleDigest,
} from "./nft.ts";

const table: NftTable = {
  name: "fairlead",
  sets: [
    { name: "pods4", family: 4, elements: [cidr("10.244.0.0/16"), ip("192.0.2.1")] },
    { name: "pods6", family: 6, elements: [] },
  ],
  maps: [
    {
      name: "ports4",
      key: ["inet_proto", "inet_service"],
      value: ["ipv4_addr", "inet_service"],
      elements: [
        { key: ["udp", 53], value: [ip("10.244.1.2"), 5353] },
        { key: ["tcp", 8080], value: [ip("10.244.1.2"), 80] },
      ],
    },
    { name: "pairs6", key: ["ipv6_addr", "ipv6_addr"], value: [], elements: [] },
  ],
  chains: [
    {
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100 },
      rules: [
        {
          statements: [
            { kind: "match-set", field: "saddr", family: 4, set: "pods4", isInverted: false },
            { kind: "match-set", field: "daddr", family: 4, set: "pods4", isInverted: true },
            { kind: "match-interface", field: "oifname", name: "lo", isInverted: true },
            { kind: "masquerade", fullyRandom: true },
          ],
          comment: "pods to the outside",
        },
      ],
    },
    {
      name: "ports",
      rules: [
        {
          statements: [
            { kind: "match-local", field: "daddr" },
            { kind: "dnat-to-map", family: 4, key: ["l4proto", "dport"], map: "ports4" },
          ],
          comment: "",
        },
        {
          statements: [
            { kind: "match-interface", field: "iifname", name: "fl*", isInverted: false },
            { kind: "match-key", family: 6, key: ["saddr", "daddr"], map: "pairs6" },
            { kind: "jump", chain: "untracked" },
          ],
          comment: "",
        },
        { statements: [{ kind: "drop" }], comment: "" },
      ],
    },
    {
      name: "untracked",
      rules: [
        {
          statements: [{ kind: "match-port", protocol: "udp", port: 4789 }, { kind: "notrack" }],
          comment: "",
        },
        {
          statements: [{ kind: "match-source-translated" }, { kind: "return" }],
          comment: "",
        },
        {
          statements: [
            { kind: "match-port", field: "sport", port: 53 },
            { kind: "match-interface-index", field: "oif", index: 2, name: "eth0" },
            { kind: "match-network", field: "daddr", network: cidr("127.0.0.0/8") },
            { kind: "return" },
          ],
          comment: "",
        },
        {
          statements: [
            { kind: "match-network", field: "saddr", network: cidr("::1/128") },
            { kind: "return" },
          ],
          comment: "",
        },
      ],
    },
  ],
};

test("formatNftTable() prints what nft would", () =>
  expect(formatNftTable(table)).toMatchInlineSnapshot(`
    "table inet fairlead {
    	set pods4 {
    		type ipv4_addr
    		flags interval
    		elements = { 10.244.0.0/16, 192.0.2.1 }
    	}

    	set pods6 {
    		type ipv6_addr
    		flags interval
    	}

    	map ports4 {
    		type inet_proto . inet_service : ipv4_addr . inet_service
    		elements = { tcp . 8080 : 10.244.1.2 . 80, udp . 53 : 10.244.1.2 . 5353 }
    	}

    	set pairs6 {
    		type ipv6_addr . ipv6_addr
    	}

    	chain postrouting {
    		type nat hook postrouting priority srcnat; policy accept;
    		ip saddr @pods4 ip daddr != @pods4 oifname != "lo" masquerade fully-random comment "pods to the outside"
    	}

    	chain ports {
    		fib daddr type local meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports4
    		iifname "fl*" ip6 saddr . ip6 daddr @pairs6 jump untracked
    		drop
    	}

    	chain untracked {
    		udp dport 4789 notrack
    		ct status snat return
    		th sport 53 oif "eth0" ip daddr 127.0.0.0/8 return
    		ip6 saddr ::1 return
    	}
    }
    "
  `));

test("asObserved() holds a digest for each rule", () => {
  const observed = asObserved(table);
  expect(observed.sets.get("pods4")).toEqual(["10.244.0.0/16", "192.0.2.1/32"]);
  expect(observed.chains.get("postrouting")).toEqual([nftRuleDigest(table.chains[0]!.rules[0]!)]);
  expect([...observed.hooks.keys()]).toEqual(["postrouting"]);
});

test("nftRuleDigest() differs when a statement or the comment does", () => {
  const rule = table.chains[0]!.rules[0]!;
  expect(nftRuleDigest(rule)).toMatch(/^[0-9a-f]{12}$/);
  expect(nftRuleDigest({ ...rule, comment: "other" })).not.toBe(nftRuleDigest(rule));
  expect(nftRuleDigest({ ...rule, statements: rule.statements.slice(1) })).not.toBe(
    nftRuleDigest(rule),
  );
});

test("nftRuleDigest() differs for another interface of the same name", () => {
  const digest = (index: number): string => {
    const device = { kind: "match-interface-index", field: "iif", index, name: "eth0" } as const;
    return nftRuleDigest({ statements: [device], comment: "" });
  };
  expect(digest(3)).not.toBe(digest(2));
});

test("joinTables() gives a chain that both have the rules of both, after what they jump to", () => {
  const chain = (name: string, ...comments: readonly string[]): NftChain => ({
    name,
    rules: comments.map((comment) => ({ statements: [], comment })),
  });
  const of = (...chains: readonly NftChain[]): NftTable => ({
    name: "fairlead",
    sets: [],
    maps: [],
    chains,
  });
  const joined = joinTables(of(chain("b", "2"), chain("a", "1")), of(chain("c"), chain("b", "3")));
  expect(joined.chains).toEqual([chain("a", "1"), chain("c"), chain("b", "2", "3")]);
});

const anIpv4Network = fc
  .tuple(fc.bigInt(0n, 0xffff_ffffn), fc.integer({ min: 0, max: 32 }))
  .map(([value, prefixLength]) => cidrOf(ipFromBigInt(value, 4), prefixLength));

test("normalElements() covers the same, has no overlap, and is its own normal form", () =>
  fc.assert(
    fc.property(fc.array(anIpv4Network, { maxLength: 12 }), (networks) => {
      const normal = normalElements(networks);
      const covers = (list: readonly Cidr[], one: Cidr): boolean =>
        list.some((other) => cidrContains(other, one));
      for (const network of networks) expect(covers(normal, network)).toBe(true);
      for (const network of normal) expect(networks).toContain(network);
      for (const [i, network] of normal.entries())
        expect(covers(normal.toSpliced(i, 1), network)).toBe(false);
      expect(normalElements(normal)).toEqual(normal);
    }),
  ));
