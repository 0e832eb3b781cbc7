import { type Ip, isIpv4 } from "../../core/address.ts";
import {
  Rcode,
  RecordClass,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "../message/message.ts";
import { foldName, type Name } from "../message/name.ts";
import { reverseNameOf } from "../message/reverse.ts";
import { authoritative, emptyZoneSoa, type Handler, type Query } from "./resolver.ts";
import type { HostEntry } from "./settings.ts";

/** Names with addresses, as an /etc/hosts would have them, and the reverse names of those addresses. */
export function hostsHandler(
  hosts: readonly HostEntry[],
  usualTtl: number,
  ttlOf: (name: Name) => number | undefined = () => undefined,
): Handler {
  const addresses = new Map(hosts.map((host) => [foldName(host.name), host.addresses]));
  // As in /etc/hosts, the first name that has the address is its name.
  const names = new Map<Name, Name>();
  for (const { name, addresses } of hosts) {
    for (const reverse of addresses.map(reverseNameOf)) {
      if (!names.has(reverse)) names.set(reverse, name);
    }
  }
  return (query, next) => {
    const name = foldName(query.question.name);
    const data = dataOf(query.question.type, addresses.get(name), names.get(name));
    if (data === undefined) return next(query);
    const ttl = ttlOf(name) ?? usualTtl;
    const soa = data.length === 0 ? [emptyZoneSoa(name, ttl)] : [];
    return authoritative(
      Rcode.NOERROR,
      data.map((one) => record(query, ttl, one)),
      soa,
    );
  };
}

/** Undefined: the name is not ours. Empty: it is, without a record of this type. */
function dataOf(
  type: number,
  addresses: readonly Ip[] | undefined,
  name: Name | undefined,
): readonly RecordData[] | undefined {
  if (addresses !== undefined) {
    return addresses
      .filter((address) => type === (isIpv4(address) ? RecordType.A : RecordType.AAAA))
      .map((address) => ({ kind: "address", address }));
  }
  if (name === undefined) return undefined;
  return type === RecordType.PTR ? [{ kind: "name", name }] : [];
}

const record = ({ question }: Query, ttl: number, data: RecordData): ResourceRecord => ({
  name: question.name,
  type: question.type,
  class: RecordClass.IN,
  ttl,
  data,
});
