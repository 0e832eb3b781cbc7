import { type Ip, isIpv4 } from "../../core/address.ts";
import type { PodDirectory } from "../cluster/pod-directory.ts";
import {
  Rcode,
  RecordClass,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "../message/message.ts";
import { foldName, type Name } from "../message/name.ts";
import { addressOfReverseName } from "../message/reverse.ts";
import { authoritative, type Handler, type Query } from "./resolver.ts";

export interface NetworkNamesOptions {
  readonly pods: PodDirectory;
  /** Of the name, folded: seconds. */
  readonly ttlOf: (name: Name) => number;
  /** Of the cluster's domain, for what a name has not. */
  readonly soa: (name: Name) => ResourceRecord;
}

/** Names of attachments, `<name>.<network>.<domain>`. A name that no attachment has is left to `next`. */
export function networkNamesHandler({ pods, ttlOf, soa }: NetworkNamesOptions): Handler {
  return (query, next) => {
    const { name, type } = query.question;
    const folded = foldName(name);
    const addresses = pods.addressesAt(folded, query.client.address);
    if (addresses === undefined) return next(query);
    const data = addresses
      .filter((address) => type === (isIpv4(address) ? RecordType.A : RecordType.AAAA))
      .map((address): RecordData => ({ kind: "address", address }));
    return data.length === 0
      ? authoritative(Rcode.NOERROR, [], [soa(folded)])
      : authoritative(Rcode.NOERROR, recordsOf(query, ttlOf(folded), data));
  };
}

/** Reverse names of attachments that no service has named. */
export function networkReverseHandler({ pods, ttlOf }: NetworkNamesOptions): Handler {
  return (query, next) => {
    if (query.question.type !== RecordType.PTR) return next(query);
    const folded = foldName(query.question.name);
    const address: Ip | undefined = addressOfReverseName(folded);
    const name = address && pods.nameOf(address);
    if (name === undefined) return next(query);
    return authoritative(Rcode.NOERROR, recordsOf(query, ttlOf(folded), [{ kind: "name", name }]));
  };
}

const recordsOf = (
  { question }: Query,
  ttl: number,
  data: readonly RecordData[],
): ResourceRecord[] =>
  data.map((one) => ({
    name: question.name,
    type: question.type,
    class: RecordClass.IN,
    ttl,
    data: one,
  }));
