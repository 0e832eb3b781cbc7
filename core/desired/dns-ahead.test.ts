import { expect, test } from "vitest";
import { ip } from "../../test/support/builders.ts";
import { formatNftTable } from "../nft.ts";
import { dnsAheadElements, dnsAheadPart, dnsAheadTable, dnsElsewhereTable } from "./dns-ahead.ts";

const services = [ip("10.96.0.10"), ip("fd00::a")];

test("queries, from pods and the node, and answers are untracked by address", () => {
  const text = formatNftTable(dnsAheadTable);
  expect(text).toContain(`	set dns-ahead4 {
		type ipv4_addr
		timeout 3s
	}
`);
  expect(text).toContain(`	chain dns-queries {
		ip daddr @dns-ahead4 notrack comment "answered here"
		ip6 daddr @dns-ahead6 notrack comment "answered here"
	}

	chain dns-answers {
		ip saddr @dns-ahead4 notrack comment "answered here"
		ip6 saddr @dns-ahead6 notrack comment "answered here"
	}

	chain raw-in {
		type filter hook prerouting priority raw; policy accept;
		th dport 53 jump dns-queries
	}

	chain raw-out {
		type filter hook output priority raw; policy accept;
		th dport 53 jump dns-queries
		th sport 53 jump dns-answers
	}
`);
});

test("the node's queries that leave it from a service address get another", () => {
  expect(formatNftTable(dnsElsewhereTable(services))).toContain(
    `ip saddr @dns-services4 oifname != "lo" masquerade fully-random`,
  );
});

test("an element says of one address that it is answered; all of the part goes with it", () => {
  const [first] = services;
  expect(dnsAheadElements([first!]).map(({ name, elements }) => [name, elements])).toEqual([
    ["dns-ahead4", [{ key: [first], value: [] }]],
  ]);
  const part = dnsAheadPart([first!]);
  expect(part.maps.map(({ name, elements }) => [name, elements.length])).toEqual([
    ["dns-ahead4", 1],
    ["dns-ahead6", 0],
  ]);
  expect(part.chains).toEqual(dnsAheadTable.chains);
});
