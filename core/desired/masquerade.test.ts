import { expect, test } from "vitest";
import { cidr, ifName } from "../../test/support/builders.ts";
import { formatNftTable } from "../nft.ts";
import { desireNftTable, type MasqueradeInput } from "./masquerade.ts";

const table = (more: Partial<MasqueradeInput> = {}): string =>
  formatNftTable(
    desireNftTable({
      podCidrs: [cidr("10.244.1.0/24")],
      clusterCidrs: [cidr("10.244.0.0/16")],
      isEnabled: true,
      except: [],
      tunnel: { underlay: ifName("eth0"), index: 2, port: 4789 },
      ...more,
    }),
  );

test("desireNftTable() masquerades what leaves the cluster, and does not track the tunnel", () => {
  expect(table()).toMatchInlineSnapshot(`
    "table inet fairlead {
    	set pods4 {
    		type ipv4_addr
    		flags interval
    		elements = { 10.244.1.0/24 }
    	}

    	set inside4 {
    		type ipv4_addr
    		flags interval
    		elements = { 10.244.0.0/16, 224.0.0.0/4 }
    	}

    	chain postrouting {
    		type nat hook postrouting priority srcnat; policy accept;
    		ip saddr @pods4 ip daddr != @inside4 masquerade fully-random comment "pods to the outside of the cluster"
    	}

    	chain raw-in {
    		type filter hook prerouting priority raw; policy accept;
    		udp dport 4789 iif "eth0" notrack comment "the tunnel, whose contents are tracked"
    	}

    	chain raw-out {
    		type filter hook output priority raw; policy accept;
    		udp dport 4789 oif "eth0" notrack comment "the tunnel, whose contents are tracked"
    	}
    }
    "
  `);
});

test("desireNftTable() has a rule per family, and the exceptions", () => {
  const text = table({
    podCidrs: [cidr("10.244.1.0/24"), cidr("fd00:10:244:1::/64")],
    clusterCidrs: [cidr("10.244.0.0/16"), cidr("fd00:10:244::/48")],
    except: [cidr("192.0.2.0/24"), cidr("2001:db8::/32")],
  });
  expect(text).toMatchInlineSnapshot(`
    "table inet fairlead {
    	set pods4 {
    		type ipv4_addr
    		flags interval
    		elements = { 10.244.1.0/24 }
    	}

    	set inside4 {
    		type ipv4_addr
    		flags interval
    		elements = { 10.244.0.0/16, 192.0.2.0/24, 224.0.0.0/4 }
    	}

    	set pods6 {
    		type ipv6_addr
    		flags interval
    		elements = { fd00:10:244:1::/64 }
    	}

    	set inside6 {
    		type ipv6_addr
    		flags interval
    		elements = { 2001:db8::/32, fd00:10:244::/48, ff00::/8 }
    	}

    	chain postrouting {
    		type nat hook postrouting priority srcnat; policy accept;
    		ip saddr @pods4 ip daddr != @inside4 masquerade fully-random comment "pods to the outside of the cluster"
    		ip6 saddr @pods6 ip6 daddr != @inside6 masquerade fully-random comment "pods to the outside of the cluster"
    	}

    	chain raw-in {
    		type filter hook prerouting priority raw; policy accept;
    		udp dport 4789 iif "eth0" notrack comment "the tunnel, whose contents are tracked"
    	}

    	chain raw-out {
    		type filter hook output priority raw; policy accept;
    		udp dport 4789 oif "eth0" notrack comment "the tunnel, whose contents are tracked"
    	}
    }
    "
  `);
});

test("desireNftTable() without masquerading and without a tunnel is an empty table", () => {
  const { tunnel: _, ...direct } = {
    podCidrs: [cidr("10.244.1.0/24")],
    clusterCidrs: [],
    isEnabled: false,
    except: [],
    tunnel: undefined,
  };
  expect(formatNftTable(desireNftTable(direct))).toBe("table inet fairlead {\n}\n");
});
