import type { PublishedService } from "../../daemon/etcd/service-file.ts";
import { isDnsLabel } from "../../core/schema.ts";
import { UsageError } from "../context.ts";

type Port = PublishedService["ports"][number];

const protocols = ["TCP", "UDP", "SCTP"] as const;

/** Of a service's name in SRV records. RFC 6335 5.1. */
const nameLength = 15;

/** `80`, `http=80`, `dns=53/udp`. Throws UsageError. */
export function parseServicePort(text: string): Port {
  const [, name, digits = "", word = "tcp"] =
    /^(?:([^=]*)=)?(\d{1,5})(?:\/([a-z]+))?$/i.exec(text) ?? [];
  const port = Number(digits);
  const protocol = protocols.find((one) => one === word.toUpperCase());
  if (digits === "" || port < 1 || port > 65_535 || protocol === undefined) {
    throw new UsageError(
      `Cannot use the port "${text}": expected [name=]port[/protocol] with a port from 1 to 65535 and tcp, udp or sctp`,
    );
  }
  if (name !== undefined && (!isDnsLabel(name) || name.length > nameLength)) {
    throw new UsageError(
      `Cannot use the port "${text}": expected a name of up to ${nameLength} lower-case letters, digits and -`,
    );
  }
  return { protocol, port, ...(name !== undefined && { name }) };
}
