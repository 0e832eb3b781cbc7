import type { Query } from "../../dns/handlers/resolver.ts";
import { RecordType } from "../../dns/message/message.ts";
import { parseName } from "../../dns/message/name.ts";

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
