import { type Ip, parseIp } from "../../core/address.ts";
import { invariant } from "../../core/assert.ts";
import { Rcode, RecordClass, type RecordData, RecordType } from "../message/message.ts";
import { brandName, foldName, labelsWithin, type Name } from "../message/name.ts";
import {
  locallyServedReverseZoneOf,
  privateReverseZoneOf,
  reverseNameOf,
} from "../message/reverse.ts";
import { type Answer, authoritative, emptyZoneSoa, type Handler, type Query } from "./resolver.ts";

const localhost = brandName("\x09localhost\0");
// RFC 6761 section 6.4, RFC 7686 section 2.
const absentZones: readonly Name[] = [brandName("\x07invalid\0"), brandName("\x05onion\0")];

const loopbacks = new Map<number, Ip>([
  [RecordType.A, ipLiteral("127.0.0.1")],
  [RecordType.AAAA, ipLiteral("::1")],
]);
const loopbackReverseNames = new Set([...loopbacks.values()].map(reverseNameOf));

/** Nothing of this ever changes. Seconds. */
const specialTtl = 3600;

/**
 * Names that no query may leave the node for: localhost, invalid, onion (RFC 6761, 7686) and the
 * reverse zones of addresses that mean nothing elsewhere (RFC 6303), with those of private addresses
 * when there is no upstream that could know them.
 */
export function specialNames(hasUpstreams: boolean): Handler {
  return (query, next) => {
    const name = foldName(query.question.name);
    if (labelsWithin(name, localhost) !== undefined) return answerLocalhost(query);
    const absent = absentZones.find((zone) => labelsWithin(name, zone) !== undefined);
    if (absent !== undefined) return negative(name, absent);
    if (loopbackReverseNames.has(name)) return answerLoopbackReverse(query);
    const reverse =
      locallyServedReverseZoneOf(name) ?? (hasUpstreams ? undefined : privateReverseZoneOf(name));
    return reverse === undefined ? next(query) : negative(name, reverse);
  };
}

function answerLocalhost(query: Query): Answer {
  const address = loopbacks.get(query.question.type);
  return address === undefined
    ? authoritative(Rcode.NOERROR, [], [emptyZoneSoa(localhost, specialTtl)])
    : answerWith(query, { kind: "address", address });
}

function answerLoopbackReverse(query: Query): Answer {
  return query.question.type === RecordType.PTR
    ? answerWith(query, { kind: "name", name: localhost })
    : authoritative(Rcode.NOERROR, [], [emptyZoneSoa(foldName(query.question.name), specialTtl)]);
}

// The zone's own name exists, and has nothing but the SOA.
const negative = (name: Name, zone: Name): Answer =>
  authoritative(
    name === zone ? Rcode.NOERROR : Rcode.NXDOMAIN,
    [],
    [emptyZoneSoa(zone, specialTtl)],
  );

const answerWith = ({ question }: Query, data: RecordData): Answer =>
  authoritative(Rcode.NOERROR, [
    {
      name: question.name,
      type: question.type,
      class: RecordClass.IN,
      ttl: specialTtl,
      data,
    },
  ]);

function ipLiteral(text: string): Ip {
  const address = parseIp(text);
  invariant(address !== undefined, `"${text}" is an address`);
  return address;
}
