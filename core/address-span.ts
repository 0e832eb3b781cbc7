// Addresses that follow one another, as an operator writes them: one, `a-b`, or a network.
import {
  type Ip,
  cidrBase,
  cidrLast,
  compareIps,
  familyOf,
  parseCidr,
  parseIp,
} from "./address.ts";

/** Of one family; both ends belong to it, and `first` is not after `last`. */
export interface AddressSpan {
  readonly first: Ip;
  readonly last: Ip;
}

/** `10.244.1.7`, `10.244.1.7-10.244.1.9` or `10.244.1.0/28`; undefined for anything else. */
export function parseAddressSpan(text: string): AddressSpan | undefined {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return { first: cidrBase(cidr), last: cidrLast(cidr) };
  const [firstText = "", lastText = firstText, ...rest] = text.split("-").map((end) => end.trim());
  const [first, last] = [parseIp(firstText), parseIp(lastText)];
  if (first === undefined || last === undefined || rest.length > 0) return undefined;
  if (familyOf(first) !== familyOf(last) || compareIps(first, last) > 0) return undefined;
  return { first, last };
}
