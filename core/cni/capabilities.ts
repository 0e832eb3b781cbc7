// What a runtime gives per attachment, beside addresses and bandwidth: CNI's conventions,
// "Dynamic Plugin specific fields (Capabilities / Runtime Configuration)".
import type { Mac } from "../address.ts";
import { parseMac } from "../address.ts";
import {
  type PortMapping,
  type TransportProtocol,
  isSamePort,
  transportProtocols,
} from "../port-mapping.ts";
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
  readInteger,
  readMac,
  readNameservers,
  readObject,
  readOptionalIp,
  readString,
  readStrings,
  required,
} from "./json.ts";
import type { CniArgs, Dns } from "./types.ts";

export interface Capabilities {
  readonly portMappings?: readonly PortMapping[];
  readonly mac?: Mac;
  readonly runtimeDns?: Dns;
  readonly aliases?: readonly string[];
}

/** Only what is asked for: an empty list is as good as none. Throws CniError invalidConfig. */
export function readCapabilities(json: Json, args: CniArgs): Capabilities {
  const runtime = optional(json, "runtimeConfig", readObject).runtimeConfig;
  const mac = requestedMac(json, runtime, args);
  const dns = runtime && optional(runtime, "dns", readRuntimeDns).dns;
  const portMappings = runtime === undefined ? [] : readPortMappings(runtime);
  const aliases = runtime === undefined ? [] : readAliases(json, runtime);
  return {
    ...(portMappings.length > 0 && { portMappings }),
    ...(mac !== undefined && { mac }),
    ...(dns !== undefined && { runtimeDns: dns }),
    ...(aliases.length > 0 && { aliases: [...new Set(aliases)] }),
  };
}

function readPortMappings(runtime: Json): readonly PortMapping[] {
  const found = member(runtime, "portMappings");
  if (found === undefined) return [];
  const mappings: PortMapping[] = [];
  for (const at of items(found)) {
    const mapping = readPortMapping(at);
    const same = mappings.find((other) => isSamePort(mapping, other));
    if (same === undefined || same.containerPort !== mapping.containerPort) {
      if (same !== undefined) throw invalidValue(at, "a hostPort that no other mapping has");
      mappings.push(mapping);
      continue;
    }
    // Said twice. Only where the addresses differ, all of both families and all of one, is it more.
    if (same.hostIp !== mapping.hostIp) mappings.push(mapping);
  }
  return mappings;
}

const readPort = readInteger(1, 65_535);

const readPortMapping: Reader<PortMapping> = (at) => {
  const { hostIP } = optional(at, "hostIP", readOptionalIp);
  return {
    protocol: required(at, "protocol", readProtocol),
    ...(hostIP !== undefined && { hostIp: hostIP }),
    hostPort: required(at, "hostPort", readPort),
    containerPort: required(at, "containerPort", readPort),
  };
};

const readProtocol: Reader<TransportProtocol> = (at) => {
  const text = readString(at).toLowerCase();
  const protocol = transportProtocols.find((name) => name === text);
  if (protocol === undefined) throw invalidValue(at, "tcp, udp or sctp");
  return protocol;
};

/** The last of three, as the reference bridge has it: CNI_ARGS, args.cni, runtimeConfig. */
function requestedMac(json: Json, runtime: Json | undefined, args: CniArgs): Mac | undefined {
  const given = optional(json, "args", readObject).args;
  const cni = given && optional(given, "cni", readObject).cni;
  return (
    (runtime && optional(runtime, "mac", readUnicastMac).mac) ??
    (cni && optional(cni, "mac", readUnicastMac).mac) ??
    macOfArgs(args)
  );
}

const unicast = "a unicast MAC address of six octets";

const readUnicastMac: Reader<Mac | undefined> = (at) => {
  const mac = readMac(at);
  if (mac !== undefined && !isUnicast(mac)) throw invalidValue(at, unicast);
  return mac;
};

function macOfArgs(args: CniArgs): Mac | undefined {
  const text = args.get("MAC") ?? "";
  if (text === "") return undefined;
  const mac = parseMac(text);
  if (mac !== undefined && isUnicast(mac)) return mac;
  throw new CniError(
    CniCode.invalidConfig,
    `Invalid MAC ${JSON.stringify(text)} in CNI_ARGS: expected ${unicast}`,
  );
}

// The kernel refuses the others. The lowest bit of the first octet says group: IEEE 802, 8.2.
const isUnicast = (mac: Mac): boolean =>
  (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== "00:00:00:00:00:00";

const readRuntimeDns: Reader<Dns | undefined> = (at) => {
  const { servers = [] } = optional(at, "servers", readNameservers);
  const { searches = [] } = optional(at, "searches", readStrings);
  const { options = [] } = optional(at, "options", readStrings);
  const dns = {
    ...(servers.length > 0 && { nameservers: servers }),
    ...(searches.length > 0 && { search: searches }),
    ...(options.length > 0 && { options }),
  };
  return Object.keys(dns).length === 0 ? undefined : dns;
};

/** A list, as the conventions have it; podman 4 gives an object with a list for each network's name. */
function readAliases(json: Json, runtime: Json): readonly string[] {
  const found = member(runtime, "aliases");
  if (found === undefined || !isJsonObject(found.value)) return list(runtime, "aliases", readAlias);
  return list(found, required(json, "name", readString), readAlias);
}

// RFC 1123 section 2.1, and the underscore, which container names have.
const label = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

const readAlias: Reader<string> = (at) => {
  const text = readString(at);
  if (label.test(text)) return text.toLowerCase();
  throw invalidValue(at, 'a DNS label: up to 63 letters, digits, "-" or "_"');
};
