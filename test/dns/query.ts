import { RecordType } from "../../dns/message.ts";
import { parseName } from "../../dns/name.ts";
import type { Query } from "../../dns/resolver.ts";

/** A question as a handler gets it, of a pod. */
export const aQuery = (
  name: string,
  type: number = RecordType.A,
  more: Partial<Query> = {},
): Query => ({
  client: { address: "10.244.1.7", transport: "udp" },
  question: { name: parseName(name)!, type, class: 1 },
  recursionDesired: true,
  checkingDisabled: false,
  dnssecOk: false,
  ...more,
});
