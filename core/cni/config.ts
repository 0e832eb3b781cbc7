// The network configuration of a request: what the runtime sends on standard input.
import type { Ip } from "../address.ts";
import { longestQuarantineSeconds } from "../node-facts.ts";
import { readBandwidth } from "./bandwidth.ts";
import { readCapabilities } from "./capabilities.ts";
import { CniCode, CniError } from "./error.ts";
import {
  type Json,
  type Reader,
  invalidValue,
  isJsonObject,
  items,
  list,
  member,
  optional,
  parseRequestedIp,
  readBoolean,
  readCidr,
  readInteger,
  readNameservers,
  readObject,
  readOptionalIp,
  readRequestedIp,
  readString,
  readText,
  required,
} from "./json.ts";
import { readDns, readResult, readRoute, resultVersion } from "./result.ts";
import {
  type CniArgs,
  type CniCommand,
  type CniResult,
  type CniVersion,
  type Dns,
  type IpamConf,
  type NetConf,
  type RangeConf,
  cniVersions,
} from "./types.ts";
import { resultFamily } from "./version.ts";

/** The IPAM plugin that is ours; any other type is a plugin to delegate to. */
export const ownIpamType = "fairlead-ipam";

/** The plugin itself, which gives no addresses: delegated to, it would call itself without end. */
export const pluginType = "fairlead";

/** A request configuration of which name and version are known: the least that any verb needs. */
export interface ConfHeader {
  readonly name: string;
  /** As given; "" when absent. */
  readonly cniVersion: string;
  readonly json: Json;
  readonly raw: string;
}

/**
 * Reads name and version. Throws CniError decodingFailure when the text is no JSON object or one of
 * the two is no string, invalidConfig when the name is missing or no legal one.
 */
export function parseConfHeader(raw: string): ConfHeader {
  let value: unknown;
  try {
    value = JSON.parse(raw);
  } catch (cause) {
    throw new CniError(CniCode.decodingFailure, "Cannot decode the configuration: not JSON", {
      cause,
      details: cause instanceof Error ? cause.message : "",
    });
  }
  if (!isJsonObject(value)) {
    throw new CniError(
      CniCode.decodingFailure,
      "Cannot decode the configuration: expected a JSON object",
    );
  }
  const json: Json = { path: "", value };
  const name = headerText(json, "name");
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw new CniError(
      CniCode.invalidConfig,
      name === ""
        ? `Invalid configuration: expected the key "name"`
        : `Invalid name ${JSON.stringify(name)}: expected a letter or digit, then letters, digits, "_", "." or "-"`,
    );
  }
  return { name, cniVersion: headerText(json, "cniVersion"), json, raw };
}

function headerText(json: Json, key: string): string {
  const found = member(json, key);
  if (found === undefined) return "";
  if (typeof found.value === "string") return found.value;
  throw new CniError(
    CniCode.decodingFailure,
    `Cannot decode ${key} ${JSON.stringify(found.value)}: expected a string`,
  );
}

/** What the meaning of a configuration depends on besides its text. */
export interface ConfContext {
  readonly command: CniCommand;
  readonly cniVersion: CniVersion;
  /** CNI_ARGS. */
  readonly args: CniArgs;
  /** The reader is the IPAM plugin itself: `ipam` is its own, by whatever name it was installed. */
  readonly isIpam?: boolean;
}

/**
 * The whole configuration. Throws CniError invalidConfig naming key, value and what is accepted. DEL
 * and GC must work whatever has become of the configuration since ADD, because what they remove is
 * keyed by the name alone: for them a bad value is as good as none.
 */
export function parseNetConf(header: ConfHeader, context: ConfContext): NetConf {
  const { json, name, raw } = header;
  const { command, cniVersion, args } = context;
  const isCleanup = command === "DEL" || command === "GC";
  const tolerant = <T>(read: Reader<T>): Reader<T | undefined> =>
    isCleanup ? (at) => orUndefined(() => read(at)) : read;
  const hasPrevResult = command === "ADD" || command === "CHECK" || command === "DEL";
  return {
    cniVersion,
    name,
    raw,
    type: optional(json, "type", tolerant(readString)).type ?? "",
    ...optional(json, "mtu", tolerant(readMtu)),
    ...(isCleanup ? {} : { ...readBandwidth(json), ...readCapabilities(json, args) }),
    ipam: isCleanup ? readCleanupIpam(json) : readIpam(json, context),
    ...optional(json, "dns", tolerant(readConfDns)),
    ...(hasPrevResult ? optional(json, "prevResult", tolerant(readPrevResult(cniVersion))) : {}),
    ...(command === "GC" ? validAttachments(json) : {}),
  };
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof CniError) return undefined;
    throw error;
  }
}

// 1280: the least that IPv6 works with (RFC 8200 section 5). 0 is Go's way to say nothing.
const readMtu: Reader<number | undefined> = (at) =>
  at.value === 0 ? undefined : readInteger(1280, 65_535)(at);

/** What another plugin's result says is that plugin's; the configuration is an operator's, and told what is wrong. */
const readConfDns: Reader<Dns> = (at) => ({
  ...readDns(at),
  ...optional(at, "nameservers", readNameservers),
});

/** A result's version must be of the configuration's family, or there is no reading it. */
const readPrevResult =
  (cniVersion: CniVersion): Reader<CniResult> =>
  (at) => {
    const version = resultVersion(at, cniVersion);
    if (resultFamily(version) !== resultFamily(cniVersion)) {
      const family = cniVersions.filter((v) => resultFamily(v) === resultFamily(cniVersion));
      const found = member(at, "cniVersion") ?? at;
      throw invalidValue(found, `${family.join(" or ")} in a configuration of ${cniVersion}`);
    }
    return readResult(version)(at);
  };

function readIpam(json: Json, { args, isIpam = false }: ConfContext): IpamConf {
  const ipam = optional(json, "ipam", readObject).ipam ?? { path: "ipam", value: {} };
  const type = optional(ipam, "type", readText).type ?? ownIpamType;
  // Another plugin's keys are not ours to judge: it gets the request as it came.
  if (type !== ownIpamType && !isIpam) return { type, ranges: [], routes: [], requestedIps: [] };
  const runtime = optional(json, "runtimeConfig", readObject).runtimeConfig;
  const requested = optional(json, "args", readObject).args;
  const requestedCni = requested && optional(requested, "cni", readObject).cni;
  return {
    type,
    // The order fixes which set is which, as host-local has it.
    ranges: [
      ...(runtime === undefined ? [] : list(runtime, "ipRanges", readRangeSet)),
      ...(member(ipam, "subnet") === undefined ? [] : [[readRange(ipam)]]),
      ...list(ipam, "ranges", readRangeSet),
    ],
    ...optional(ipam, "pool", readText),
    routes: list(ipam, "routes", readRoute),
    ...optional(ipam, "dataDir", readAbsolutePath),
    ...optional(ipam, "resolvConf", readText),
    ...optional(ipam, "quarantineSeconds", readInteger(0, longestQuarantineSeconds)),
    ...stickiness(ipam),
    requestedIps: [
      ...requestedIpOf(args),
      ...(requestedCni === undefined ? [] : list(requestedCni, "ips", readRequestedIp)),
      ...(runtime === undefined ? [] : list(runtime, "ips", readRequestedIp)),
    ],
  };
}

function stickiness(ipam: Json): Pick<IpamConf, "isSticky"> {
  const { sticky } = optional(ipam, "sticky", readBoolean);
  return sticky === undefined ? {} : { isSticky: sticky };
}

/** All that DEL and GC need: who holds the leases, and where. */
function readCleanupIpam(json: Json): IpamConf {
  const ipam = orUndefined(() => optional(json, "ipam", readObject).ipam);
  const type = ipam && orUndefined(() => optional(ipam, "type", readText).type);
  const dataDir = ipam && orUndefined(() => optional(ipam, "dataDir", readAbsolutePath).dataDir);
  return {
    type: type ?? ownIpamType,
    ranges: [],
    routes: [],
    requestedIps: [],
    ...(dataDir === undefined ? {} : { dataDir }),
  };
}

// A relative one would be the daemon's with a daemon, and the runtime's without.
const readAbsolutePath: Reader<string | undefined> = (at) => {
  const path = readText(at);
  if (path === undefined || /^\/[^\0]*$/.test(path)) return path;
  throw invalidValue(at, "an absolute path");
};

const readRangeSet: Reader<readonly RangeConf[]> = (at) => {
  const ranges = items(at).map(readRange);
  if (ranges.length === 0) throw invalidValue(at, "at least one range");
  return ranges;
};

// Whether the addresses fit into the subnet is for the allocator to say.
const readRange: Reader<RangeConf> = (at) => ({
  subnet: required(at, "subnet", readCidr),
  ...optional(at, "rangeStart", readOptionalIp),
  ...optional(at, "rangeEnd", readOptionalIp),
  ...optional(at, "gateway", readOptionalIp),
});

function requestedIpOf(args: CniArgs): readonly Ip[] {
  const text = args.get("IP") ?? "";
  if (text === "") return [];
  const ip = parseRequestedIp(text);
  if (ip !== undefined) return [ip];
  throw new CniError(
    CniCode.invalidEnvironment,
    `Invalid IP "${text}" in CNI_ARGS: expected an IP address, with or without a prefix`,
  );
}

// The key was renamed after 1.1.0 was tagged; libcni sends both. Its empty list arrives as null, so
// null is "none is valid", while a key that is not there says nothing about what is valid.
const attachmentKeys = ["cni.dev/valid-attachments", "cni.dev/attachments"];

function validAttachments(json: Json): Pick<NetConf, "validAttachments"> {
  const present = Object.keys(isJsonObject(json.value) ? json.value : {}).map((key) =>
    key.toLowerCase(),
  );
  const found = attachmentKeys.filter((key) => present.includes(key));
  if (found.length === 0) return {};
  return { validAttachments: found.flatMap((key) => list(json, key, readValidAttachment)) };
}

const readValidAttachment: Reader<{ containerId: string; ifName: string }> = (at) => ({
  containerId: required(at, "containerID", readText),
  ifName: required(at, "ifname", readText),
});
