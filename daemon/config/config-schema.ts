// What fairlead.yaml may say: every key with its default, and what it accepts. conf/fairlead.yaml
// explains them.
import { isAbsolute } from "node:path";
import * as v from "valibot";
import { type AddressSpan, parseAddressSpan } from "../../core/address-span.ts";
import { familyOf, type Ip, parseIp } from "../../core/address.ts";
import { type IfName, parseIfName } from "../../core/names.ts";
import { defaultQuarantineSeconds, longestQuarantineSeconds } from "../../core/node-facts.ts";
import { paths } from "../../core/paths.ts";
import {
  cidrSchema,
  dnsLabelSchema,
  dnsNameSchema,
  isDnsName,
  ipSchema,
  oneOf,
  parsed,
  portSchema,
  wholeNumber,
} from "../../core/schema.ts";
import { defaultCacheSettings } from "../../dns/handlers/cache.ts";
import { defaultClientLimits, defaultRealtimeShare } from "../../dns/handlers/settings.ts";
import { defaultForwardSettings, type Upstream } from "../../dns/handlers/settings.ts";
import { parseUpstream, upstreamForms } from "../../dns/upstream/upstream-text.ts";

/** An address with a port: `127.0.0.1:9440`, `[::1]:9440`. */
export interface Listen {
  readonly address: Ip;
  readonly port: number;
}

export function parseListen(text: string): Listen | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const address = parseIp(match?.[1] ?? match?.[2] ?? "");
  const port = Number(match?.[3]);
  return address === undefined || !(port >= 1 && port <= 65_535) ? undefined : { address, port };
}

// CNI specification 1.1.0, "Network configuration format", name.
const parseNetworkName = (text: string): string | undefined =>
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(text) ? text : undefined;

const parseAbsolutePath = (text: string): string | undefined =>
  isAbsolute(text) ? text : undefined;

const directory = parsed(parseAbsolutePath, "an absolute path");
const flag = v.boolean("true or false");

const networks = v.array(cidrSchema, "a list of networks");

const oneCidrPerFamily = v.pipe(
  networks,
  v.check(
    (cidrs) => cidrs.length > 0 && new Set(cidrs.map(familyOf)).size === cidrs.length,
    "one network per family, at least one",
  ),
);

const addressSpans = v.array(
  parsed<AddressSpan>(
    parseAddressSpan,
    "an address, a range such as 10.244.1.10-10.244.1.19, or a network",
  ),
  "a list of addresses, ranges and networks",
);

const upstreamList = v.array(parsed<Upstream>(parseUpstream, upstreamForms));
const automaticUpstreams = v.literal(
  "auto",
  "auto or a list of addresses, each with a port where it is not 53, and tls:// before it for TLS",
);

const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const endpoint = parsed(
  (text) => (isEndpoint(text) ? text.replace(/\/$/, "") : undefined),
  "http://host:port or https://host:port",
);

function isEndpoint(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return (
    url !== undefined &&
    ["http:", "https:"].includes(url.protocol) &&
    url.pathname === "/" &&
    url.search + url.hash + url.username === ""
  );
}

// Two parts of one key would be taken for two keys by whoever reads below one of them.
const etcdPrefix = parsed(
  (text) => (/^(\/[A-Za-z0-9._-]+)+$/.test(text) ? text : undefined),
  "a path such as /fairlead, without a slash at its end",
);

const file = parsed(parseAbsolutePath, "the absolute path of a file");

const etcd = v.object({
  endpoints: v.optional(
    v.pipe(v.array(endpoint, "a list of endpoints"), v.nonEmpty("at least one endpoint")),
    ["http://127.0.0.1:2379"],
  ),
  prefix: v.optional(etcdPrefix, "/fairlead"),
  ca: v.exactOptional(file),
  cert: v.exactOptional(file),
  key: v.exactOptional(file),
  user: v.exactOptional(v.pipe(v.string("text"), v.nonEmpty("a user's name"))),
  passwordFile: v.exactOptional(file),
  leaseSeconds: v.optional(wholeNumber(5, 3600), 30),
  nodeLeaseSeconds: v.optional(wholeNumber(30, 604_800), 3600),
});

const cluster = v.object({
  source: v.optional(oneOf(["file", "etcd", "kubernetes"]), "file"),
  file: v.optional(v.object({ directory: v.optional(directory, paths.cluster) }), {}),
  removalGraceSeconds: v.optional(wholeNumber(0, 86_400), 300),
  etcd: v.optional(etcd, {}),
  kubernetes: v.optional(
    v.object({
      kubeconfig: v.exactOptional(directory),
      allocatePodCIDRs: v.optional(flag, false),
    }),
    {},
  ),
});

const namespaceList = v.array(dnsLabelSchema, "a list of namespaces");

const prefixLengths = {
  ipv4: v.optional(wholeNumber(8, 30)),
  ipv6: v.optional(wholeNumber(16, 126)),
};

const pool = v.object(
  {
    name: dnsLabelSchema,
    cidrs: v.pipe(networks, v.nonEmpty("at least one network")),
    namespaces: v.optional(namespaceList, []),
    nodePrefixLength: v.optional(v.object(prefixLengths), {}),
  },
  "a mapping",
);

const network = v.object({
  name: v.optional(
    parsed(parseNetworkName, "letters, digits, _, . and -, a letter or digit first"),
    "fairlead",
  ),
  podCIDRs: v.optional(oneCidrPerFamily, ["10.244.0.0/16"]),
  nodePrefixLength: v.optional(
    v.object({
      ipv4: v.optional(wholeNumber(8, 30), 24),
      ipv6: v.optional(wholeNumber(16, 126), 64),
    }),
    {},
  ),
  pools: v.optional(v.array(pool, "a list of pools"), []),
  serviceCIDRs: v.optional(networks, ["10.96.0.0/16"]),
  ipam: v.optional(
    v.object({
      reserved: v.optional(addressSpans, []),
      quarantineSeconds: v.optional(
        wholeNumber(0, longestQuarantineSeconds),
        defaultQuarantineSeconds,
      ),
      sticky: v.optional(flag, false),
      leaseGraceSeconds: v.optional(wholeNumber(0, 86_400), 300),
    }),
    {},
  ),
  backend: v.optional(oneOf(["vxlan", "direct", "auto"]), "auto"),
  vxlan: v.optional(
    v.object({
      vni: v.optional(wholeNumber(1, 16_777_215), 1),
      port: v.optional(portSchema, 4789),
      checksumOffload: v.optional(flag, true),
    }),
    {},
  ),
  interface: v.optional(
    v.union(
      [v.literal("auto"), parsed<IfName>(parseIfName, "")],
      "auto or the name of an interface",
    ),
    "auto",
  ),
  mtu: v.optional(
    v.union(
      [v.literal("auto"), wholeNumber(576, 65_535)],
      "auto or a whole number from 576 to 65535",
    ),
    "auto",
  ),
  masquerade: v.optional(
    v.object({ enabled: v.optional(flag, true), except: v.optional(networks, []) }),
    {},
  ),
  openFirewall: v.optional(
    v.literal(false, "false: this version adds no rules to a foreign firewall"),
    false,
  ),
});

const upstreamsOfStub = v.pipe(upstreamList, v.nonEmpty("at least one address"));
const addressesOfHost = v.pipe(
  v.array(ipSchema, "a list of addresses"),
  v.nonEmpty("at least one address"),
);

const rewriteEnd = parsed(
  (text) => (isDnsName(text.replace(/^\*\./, "")) ? text : undefined),
  "a name, or *. and a domain",
);

/** A list would be one with numbers as its keys. */
const mapping = <S extends v.GenericSchema>(schema: S) =>
  v.pipe(
    v.custom<v.InferInput<S>>((value) => !Array.isArray(value), "a mapping"),
    schema,
  );

const shareForms = "a number from 0 to 1";
const share = v.pipe(v.number(shareForms), v.minValue(0, shareForms), v.maxValue(1, shareForms));

const dnsCache = v.object({
  // Less than a few answers would be no cache; 0 is none.
  maxBytes: v.optional(wholeNumber(0, 2 ** 30), defaultCacheSettings.maxBytes),
  maxTtl: v.optional(wholeNumber(1, 604_800), defaultCacheSettings.maxTtl),
  minTtl: v.optional(wholeNumber(0, 3600), defaultCacheSettings.minTtl),
  maxNegativeTtl: v.optional(wholeNumber(0, 10_800), defaultCacheSettings.maxNegativeTtl),
  maxStale: v.optional(wholeNumber(0, 604_800), defaultCacheSettings.maxStale),
});

const dnsForward = v.object({
  mixCase: v.optional(flag, defaultForwardSettings.mixCase),
  ca: v.optional(directory),
});

const dnsLog = v.object({
  share: v.optional(share, 0),
  perSecond: v.optional(wholeNumber(1, 1000), 50),
});

const dns = v.object({
  enabled: v.optional(flag, true),
  domain: v.optional(dnsNameSchema, "cluster.local"),
  ttl: v.optional(wholeNumber(0, 3600), 5),
  pods: v.optional(oneOf(["insecure", "verified", "disabled"]), "insecure"),
  addresses: v.optional(v.array(ipSchema, "a list of addresses"), ["10.96.0.10"]),
  ahead: v.optional(flag, true),
  autopath: v.optional(flag, true),
  clients: v.optional(networks, []),
  limits: v.optional(
    v.object({
      queriesPerSecond: v.optional(wholeNumber(0, 1_000_000), 50_000),
      pending: v.optional(wholeNumber(1, 10_000), defaultClientLimits.pending),
    }),
    {},
  ),
  realtimeShare: v.optional(share, defaultRealtimeShare),
  upstreams: v.optional(
    // A list is checked element by element, so that a message names the wrong one.
    v.lazy((input) => (Array.isArray(input) ? upstreamList : automaticUpstreams)),
    "auto",
  ),
  forward: v.optional(dnsForward, {}),
  log: v.optional(dnsLog, {}),
  cache: v.optional(dnsCache, {}),
  stubs: v.optional(mapping(v.record(dnsNameSchema, upstreamsOfStub, "a mapping")), {}),
  hosts: v.optional(mapping(v.record(dnsNameSchema, addressesOfHost, "a mapping")), {}),
  ttls: v.optional(mapping(v.record(dnsNameSchema, wholeNumber(0, 86_400), "a mapping")), {}),
  rewrite: v.optional(mapping(v.record(rewriteEnd, rewriteEnd, "a mapping")), {}),
});

export const configSchema = v.object({
  nodeName: v.optional(dnsNameSchema),
  cluster: v.optional(cluster, {}),
  cni: v.optional(v.object({ confDir: v.optional(directory, paths.cniConfDir) }), {}),
  network: v.optional(network, {}),
  dns: v.optional(dns, {}),
  metrics: v.optional(
    v.object({
      listen: v.optional(
        parsed<Listen>(parseListen, "address:port or [address]:port"),
        "127.0.0.1:9440",
      ),
    }),
    {},
  ),
  log: v.optional(v.object({ level: v.optional(oneOf(logLevels), "info") }), {}),
});

export type ConfigFile = v.InferOutput<typeof configSchema>;
