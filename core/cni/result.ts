// Results of every protocol version, read into and written from the newest shape. What a version
// cannot say is dropped on writing, as the reference does it.
import { type Family, familyOf, formatInterfaceCidr } from "../address.ts";
import { describeError } from "../error.ts";
import { CniCode, CniError } from "./error.ts";
import {
  type Json,
  type Reader,
  invalidValue,
  isJsonObject,
  list,
  member,
  optional,
  readInteger,
  readInterfaceCidr,
  readMac,
  readObject,
  readOptionalIp,
  readString,
  readStrings,
  readText,
  required,
} from "./json.ts";
import {
  type CniInterface,
  type CniIp,
  type CniResult,
  type CniRoute,
  type CniVersion,
  type Dns,
  cniVersions,
} from "./types.ts";
import { isSupportedVersion, resultFamily } from "./version.ts";

export const emptyResult: CniResult = { interfaces: [], ips: [], routes: [], dns: {} };

/**
 * What a plugin printed. A result without a version is of the request's; nothing at all, or null, is
 * an empty result. Throws CniError decodingFailure.
 */
export function parseResult(text: string, requestVersion: CniVersion): CniResult {
  try {
    const value: unknown = text.trim() === "" ? null : JSON.parse(text);
    if (value === null) return emptyResult;
    const at: Json = { path: "result", value };
    return readResult(resultVersion(at, requestVersion))(at);
  } catch (cause) {
    throw new CniError(CniCode.decodingFailure, "Cannot decode the plugin's result", {
      cause,
      details: describeError(cause),
    });
  }
}

/** The version that a result says it has; `fallback` where it says none. */
export function resultVersion(at: Json, fallback: CniVersion): CniVersion {
  const found = member(readObject(at), "cniVersion");
  const text = found === undefined ? "" : readString(found);
  if (text === "") return fallback;
  if (!isSupportedVersion(text)) {
    throw invalidValue(found ?? at, `one of ${cniVersions.join(", ")}`);
  }
  return text;
}

/** Reads a result in the shape of that version; members that we do not know are tolerated. */
export const readResult = (version: CniVersion): Reader<CniResult> =>
  resultFamily(version) === "0.2" ? readPerFamilyResult : readListResult;

/** JSON of the result in exactly that version: members and order as the reference prints them. */
export function formatResult(result: CniResult, version: CniVersion): string {
  const shape = { cniVersion: version, ...resultMembers(result, version) };
  return JSON.stringify(resultFamily(version) === "1.x" ? sortKeys(shape) : shape, null, 4);
}

export const readRoute: Reader<CniRoute> = (at) => ({
  dst: required(at, "dst", readInterfaceCidr),
  ...optional(at, "gw", readOptionalIp),
  ...optional(at, "mtu", readNumber),
  ...optional(at, "advmss", readNumber),
  ...optional(at, "priority", readNumber),
  ...optional(at, "table", readUint32),
  ...optional(at, "scope", readInteger(0, 255)),
});

export const readDns: Reader<Dns> = (at) => ({
  ...optional(at, "nameservers", readStrings),
  ...optional(at, "domain", readText),
  ...optional(at, "search", readStrings),
  ...optional(at, "options", readStrings),
});

const readUint32 = readInteger(0, 0xffff_ffff);
// In Go 0 is the number that was not given; table and scope, where 0 has a meaning, are pointers.
const readNumber: Reader<number | undefined> = (at) => readUint32(at) || undefined;

const readListResult: Reader<CniResult> = (at) => ({
  interfaces: list(at, "interfaces", readInterface),
  ips: list(at, "ips", readListedIp),
  routes: list(at, "routes", readRoute),
  dns: optional(at, "dns", readDns).dns ?? {},
});

const readInterface: Reader<CniInterface> = (at) => ({
  name: required(at, "name", readString),
  ...optional(at, "mac", readMac),
  ...optional(at, "mtu", readNumber),
  ...optional(at, "sandbox", readText),
  ...optional(at, "socketPath", readText),
  ...optional(at, "pciID", readText),
});

const readListedIp: Reader<CniIp> = (at) => ({
  address: required(at, "address", readInterfaceCidr),
  ...optional(at, "gateway", readOptionalIp),
  ...optional(at, "interface", readUint32),
});

// 0.1.0 and 0.2.0: at most one address per family, each with its routes.
const readPerFamilyResult: Reader<CniResult> = (at) => {
  const found = [optional(at, "ip4", readFamily(4)).ip4, optional(at, "ip6", readFamily(6)).ip6];
  const families = found.filter((family) => family !== undefined);
  return {
    interfaces: [],
    ips: families.map((family) => family.ip),
    routes: families.flatMap((family) => family.routes),
    dns: optional(at, "dns", readDns).dns ?? {},
  };
};

const readFamily =
  (family: Family): Reader<{ readonly ip: CniIp; readonly routes: readonly CniRoute[] }> =>
  (at) => {
    const address = required(at, "ip", readInterfaceCidr);
    if (familyOf(address.address) !== family) {
      throw invalidValue(member(at, "ip") ?? at, `an IPv${family} address`);
    }
    return {
      ip: { address, ...optional(at, "gateway", readOptionalIp) },
      routes: list(at, "routes", readRoute),
    };
  };

function resultMembers(result: CniResult, version: CniVersion): object {
  switch (resultFamily(version)) {
    case "0.2":
      return { ...perFamily(result, version), dns: dnsMembers(result.dns) };
    case "0.4":
      return {
        ...unlessEmpty("interfaces", result.interfaces.map(oldInterface)),
        ...unlessEmpty(
          "ips",
          result.ips.map((ip) => ({
            version: String(familyOf(ip.address.address)),
            ...listed(ip),
          })),
        ),
        ...unlessEmpty("routes", result.routes.map(routeMembers)),
        dns: dnsMembers(result.dns),
      };
    case "1.x": {
      const dns = dnsMembers(result.dns);
      return {
        ...(Object.keys(dns).length === 0 ? {} : { dns }),
        ...unlessEmpty("interfaces", result.interfaces),
        ...unlessEmpty("ips", result.ips.map(listed)),
        ...unlessEmpty("routes", result.routes.map(routeMembers)),
      };
    }
  }
}

/** The first address of each family, with the routes of that family: all that 0.2.0 can say. */
function perFamily(result: CniResult, version: CniVersion): object {
  const ofFamily = (family: Family): object | undefined => {
    const ip = result.ips.find(({ address }) => familyOf(address.address) === family);
    if (ip === undefined) return undefined;
    const routes = result.routes
      .filter(({ dst }) => familyOf(dst.address) === family)
      .map(({ dst, gw }) => ({
        dst: formatInterfaceCidr(dst),
        ...(gw === undefined ? {} : { gw }),
      }));
    const { interface: _, address, ...gateway } = ip;
    return { ip: formatInterfaceCidr(address), ...gateway, ...unlessEmpty("routes", routes) };
  };
  const [ip4, ip6] = [ofFamily(4), ofFamily(6)];
  if (ip4 === undefined && ip6 === undefined) {
    throw new CniError(
      CniCode.incompatibleVersion,
      `Cannot express the result in CNI version ${version}: it has no address`,
    );
  }
  return { ...(ip4 === undefined ? {} : { ip4 }), ...(ip6 === undefined ? {} : { ip6 }) };
}

const oldInterface = ({ name, mac, sandbox }: CniInterface): object => ({
  name,
  ...(mac === undefined ? {} : { mac }),
  ...(sandbox === undefined ? {} : { sandbox }),
});

function listed({ interface: index, address, gateway }: CniIp): object {
  return {
    ...(index === undefined ? {} : { interface: index }),
    address: formatInterfaceCidr(address),
    ...(gateway === undefined ? {} : { gateway }),
  };
}

const routeMembers = ({ dst, ...rest }: CniRoute): object => ({
  dst: formatInterfaceCidr(dst),
  ...rest,
});

const dnsMembers = ({ nameservers = [], domain, search = [], options = [] }: Dns): object => ({
  ...unlessEmpty("nameservers", nameservers),
  ...(domain === undefined ? {} : { domain }),
  ...unlessEmpty("search", search),
  ...unlessEmpty("options", options),
});

const unlessEmpty = (key: string, values: readonly unknown[]): object =>
  values.length === 0 ? {} : { [key]: values };

// From 1.0.0 the reference marshals by way of a map, so members come sorted at every level.
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sortKeys(member)]),
  );
}
