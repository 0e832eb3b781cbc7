// Shaping: a token bucket filter at the root of a device. RTM_*QDISC messages, <linux/pkt_sched.h>,
// tc-tbf(8).
import { Flags, FlagsNew } from "netlink/dist/constants.js";
import { MessageType } from "netlink/dist/rt/gen_structs.js";
import type { Shaping } from "../core/network.ts";
import type { MessageBatch } from "./message.ts";
import type { Attributes, Message } from "./received.ts";

/** struct tcmsg: family, padding, interface index, handle, parent, info. */
const tcmsgLength = 20;
const root = 0xffff_ffff;
const tca = { kind: 1, options: 2 } as const;
const tbf = { parameters: 1, rate64: 4, burst: 6 } as const;
const kind = "tbf";

/** struct tc_tbf_qopt: struct tc_ratespec of the rate, the same of a peak rate, limit, buffer, MTU. */
const rateAt = 8;
const limitAt = 24;
/** Of struct tc_ratespec: the kernel wants no table of times then, which older tc had to calculate. */
const ethernet = 1;
const largestU32 = 0xffff_ffff;

function writeTcmsg(batch: MessageBatch, index: number): void {
  batch.u32(0).u32(index).u32(0).u32(root).u32(0);
}

export function writeReplaceShaping(
  batch: MessageBatch,
  { rate, burst, limit }: Omit<Shaping, "device">,
  index: number,
): void {
  batch.message(MessageType.NEWQDISC, FlagsNew.CREATE | FlagsNew.REPLACE, () => {
    writeTcmsg(batch, index);
    batch.attributeText(tca.kind, kind).nested(tca.options, () => {
      batch.attributeOctets(tbf.parameters, parameters(rate, limit));
      // With the bucket in octets the kernel calculates the time that it stands for by itself, in 64
      // bits; `buffer` of the parameters would be that time in 32.
      batch.attributeU32(tbf.burst, burst);
      if (rate > largestU32) batch.attributeU64(tbf.rate64, BigInt(rate));
    });
  });
}

function parameters(rate: number, limit: number): Buffer {
  const octets = Buffer.alloc(36);
  octets.writeUInt8(ethernet, 1);
  octets.writeUInt32LE(Math.min(rate, largestU32), rateAt);
  octets.writeUInt32LE(limit, limitAt);
  return octets;
}

/**
 * Asks for the root qdisc of a link. Echoed: Linux before 6.9 sends the answer to listeners alone
 * otherwise. Acknowledged, because of a link that is down there may be no answer.
 */
export function writeGetQdisc(batch: MessageBatch, index: number): void {
  batch.message(MessageType.GETQDISC, Flags.ECHO | Flags.ACK, () => writeTcmsg(batch, index));
}

/** Undefined for another kind of qdisc. */
export function decodeShaping(message: Message): Omit<Shaping, "device" | "burst"> | undefined {
  const attributes = message.attributes(tcmsgLength);
  if (attributes.text(tca.kind) !== kind) return undefined;
  const options: Attributes | undefined = attributes.nested(tca.options);
  const octets = options?.octets(tbf.parameters);
  if (options === undefined || octets === undefined || octets.length < limitAt + 4) {
    return undefined;
  }
  const rate = Number(options.u64(tbf.rate64) ?? octets.readUInt32LE(rateAt));
  return { rate, limit: octets.readUInt32LE(limitAt) };
}
