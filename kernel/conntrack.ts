// Connection tracking entries of UDP over ctnetlink: <linux/netfilter/nfnetlink_conntrack.h>.
import { type Family, type Ip, familyOf } from "../core/address.ts";
import { KernelError } from "../core/error.ts";
import type { UdpFlow } from "../core/network.ts";
import { type MessageBatch, batchOf } from "./message.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { protocolNumber } from "./nft-map.ts";
import type { Attributes, Message } from "./received.ts";

const subsystem = 1;
const getMessage = (subsystem << 8) | 1;
const deleteMessage = (subsystem << 8) | 2;
/** struct nfgenmsg: family, version, resource. */
const nfgenLength = 4;
const addressFamily: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };
const attribute = { original: 1, reply: 2, filter: 25 } as const;
const tuple = { ip: 1, protocol: 2 } as const;
const ipAttribute = {
  4: { source: 1, destination: 2 },
  6: { source: 3, destination: 4 },
} as const;
const protocolAttribute = { number: 1, sourcePort: 2, destinationPort: 3 } as const;
const filterOriginal = 1;
const filterReply = 2;
/** CTA_FILTER_F_CTA_IP_SRC. */
const bySource = 1 << 0;
/** CTA_FILTER_F_CTA_PROTO_NUM and CTA_FILTER_F_CTA_PROTO_DST_PORT. */
const byProtocolAndPort = (1 << 3) | (1 << 5);
const families: readonly Family[] = [4, 6];

/** The UDP flows that were sent to this port: the kernel sends no others. */
export const readUdpFlows = (socket: NetlinkSocket, port: number): readonly UdpFlow[] =>
  families.flatMap((family) =>
    socket.dump(
      batchOf((batch) => writeGetFlows(batch, family, port)),
      (message) => {
        const flow = decodeFlow(message, family);
        return flow?.destinationPort === port ? flow : undefined;
      },
    ),
  );

/** More addresses than this are looked for in one dump of everything. */
const mostWalks = 4;

/**
 * Those of the addresses that a flow is from, or answered by: also by way of a service or a host port.
 * The kernel walks its whole table for each of a few, or once for many: 10 ms for 262,144 buckets.
 */
export function trackedAmong(socket: NetlinkSocket, addresses: readonly Ip[]): ReadonlySet<Ip> {
  const tracked = new Set<Ip>();
  const look = (request: MessageBatch, family: Family): void => {
    socket.dump(request, (message) => {
      for (const direction of [attribute.original, attribute.reply]) {
        const source = sourceOf(message, direction, family);
        if (source !== undefined && asked.has(source)) tracked.add(source);
      }
      return undefined;
    });
  };
  const asked = new Set(addresses);
  if (addresses.length <= mostWalks) {
    for (const address of addresses) {
      for (const direction of [attribute.original, attribute.reply]) {
        look(
          batchOf((batch) => writeGetFlowsFrom(batch, address, direction)),
          familyOf(address),
        );
      }
    }
  } else {
    for (const family of new Set(addresses.map(familyOf))) {
      look(
        batchOf((batch) => writeMessage(batch, getMessage, family, () => {})),
        family,
      );
    }
  }
  return tracked;
}

/** One that is gone already is no failure. */
export function forgetUdpFlows(socket: NetlinkSocket, flows: readonly UdpFlow[]): void {
  if (flows.length === 0) return;
  const failures = socket.send(
    batchOf((batch) => {
      for (const flow of flows) writeDeleteFlow(batch, flow);
    }),
  );
  const failure = failures.find(({ errno }) => errno !== "ENOENT");
  if (failure === undefined) return;
  throw new KernelError("forget a UDP flow", failure.errno, failure.kernelMessage);
}

function writeGetFlows(batch: MessageBatch, family: Family, port: number): void {
  writeMessage(batch, getMessage, family, () => {
    batch.nested(attribute.original, () =>
      batch.nested(tuple.protocol, () =>
        batch
          .attributeU8(protocolAttribute.number, protocolNumber.udp)
          .attributeU16be(protocolAttribute.destinationPort, port),
      ),
    );
    batch.nested(attribute.filter, () => batch.attributeU32(filterOriginal, byProtocolAndPort));
  });
}

function writeGetFlowsFrom(batch: MessageBatch, address: Ip, direction: number): void {
  const family = familyOf(address);
  const filter = direction === attribute.original ? filterOriginal : filterReply;
  writeMessage(batch, getMessage, family, () => {
    batch.nested(direction, () =>
      batch.nested(tuple.ip, () => batch.attributeIp(ipAttribute[family].source, address)),
    );
    batch.nested(attribute.filter, () => batch.attributeU32(filter, bySource));
  });
}

const sourceOf = (message: Message, direction: number, family: Family): Ip | undefined =>
  message
    .attributes(nfgenLength)
    .nested(direction)
    ?.nested(tuple.ip)
    ?.ip(ipAttribute[family].source);

function writeDeleteFlow(batch: MessageBatch, flow: UdpFlow): void {
  const family = familyOf(flow.source);
  writeMessage(batch, deleteMessage, family, () =>
    batch.nested(attribute.original, () => {
      batch.nested(tuple.ip, () =>
        batch
          .attributeIp(ipAttribute[family].source, flow.source)
          .attributeIp(ipAttribute[family].destination, flow.destination),
      );
      batch.nested(tuple.protocol, () =>
        batch
          .attributeU8(protocolAttribute.number, protocolNumber.udp)
          .attributeU16be(protocolAttribute.sourcePort, flow.sourcePort)
          .attributeU16be(protocolAttribute.destinationPort, flow.destinationPort),
      );
    }),
  );
}

const writeMessage = (batch: MessageBatch, type: number, family: Family, body: () => void): void =>
  batch.message(type, 0, () => {
    batch.u8(addressFamily[family]).u8(0).u16be(0);
    body();
  });

interface Direction {
  readonly source: Ip;
  readonly destination: Ip;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

function decodeFlow(message: Message, family: Family): UdpFlow | undefined {
  const attributes = message.attributes(nfgenLength);
  const original = decodeDirection(attributes.nested(attribute.original), family);
  const reply = decodeDirection(attributes.nested(attribute.reply), family);
  if (original === undefined || reply === undefined) return undefined;
  return { ...original, answerer: reply.source, answererPort: reply.sourcePort };
}

/** Undefined for what is not UDP. */
function decodeDirection(found: Attributes | undefined, family: Family): Direction | undefined {
  const protocol = found?.nested(tuple.protocol);
  const source = found?.nested(tuple.ip)?.ip(ipAttribute[family].source);
  const destination = found?.nested(tuple.ip)?.ip(ipAttribute[family].destination);
  const sourcePort = protocol?.u16be(protocolAttribute.sourcePort);
  const destinationPort = protocol?.u16be(protocolAttribute.destinationPort);
  if (protocol?.u8(protocolAttribute.number) !== protocolNumber.udp) return undefined;
  if (source === undefined || destination === undefined) return undefined;
  if (sourcePort === undefined || destinationPort === undefined) return undefined;
  return { source, destination, sourcePort, destinationPort };
}
