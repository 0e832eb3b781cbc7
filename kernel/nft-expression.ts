// Statements as nf_tables expressions: a register is loaded, compared, looked up. The sequences are
// those that nft(8) makes of the same text, so that it can print them back.
import { type Family, cidrBase, cidrPrefixLength, familyOf, ipToBytes } from "../core/address.ts";
import { assertNever, invariant } from "../core/assert.ts";
import type { NftKeyField, NftStatement } from "../core/nft.ts";
import type { MessageBatch } from "./message.ts";

// <linux/netfilter/nf_tables.h>. Numbers are in network byte order.
const listElement = 1;
const expression = { name: 1, data: 2 } as const;
const dataValue = 1;
const dataVerdict = 2;
const verdictCode = 1;
const verdictChain = 2;
const register1 = 1;
const verdictRegister = 0;
const metaKey = { iif: 4, oif: 5, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const;
const payloadBase = { network: 1, transport: 2 } as const;
const compare = { equal: 0, notEqual: 1 } as const;
const lookupInverted = 1;
/** NF_NAT_RANGE_PROTO_RANDOM_FULLY. */
const natFullyRandom = 16;
const verdict = { drop: 0, jump: -3, return: -5 } as const;
/** NFT_NAT_DNAT. */
const destinationNat = 1;
/** NFTA_FIB_F_SADDR, NFTA_FIB_F_DADDR. */
const fibFlag = { saddr: 1, daddr: 2 } as const;
/** NFT_FIB_RESULT_ADDRTYPE. */
const fibAddressType = 3;
/** RTN_LOCAL, in the machine's byte order. */
const localAddressType = Uint8Array.of(2, 0, 0, 0);
/** NFT_CT_STATUS. */
const connectionStatus = 2;
/** IPS_SRC_NAT of <linux/netfilter/nf_conntrack_common.h>, in the machine's byte order. */
const sourceTranslated = Uint8Array.of(16, 0, 0, 0);
const protocolNumber = { tcp: 6, udp: 17 } as const;
const nfproto = (family: Family): number => (family === 4 ? 2 : 10);
const interfaceNameOctets = 16;

// Where the addresses are in the network header: RFC 791 section 3.1, RFC 8200 section 3.
const addressAt = {
  4: { saddr: 12, daddr: 16, length: 4 },
  6: { saddr: 8, daddr: 24, length: 16 },
} as const;
// Of TCP, UDP and SCTP alike.
const sourcePort = { offset: 0, length: 2 } as const;
const destinationPort = { offset: 2, length: 2 } as const;
const slotOctets = 4;

export function writeStatements(batch: MessageBatch, statements: readonly NftStatement[]): void {
  for (const statement of statements) writeStatement(batch, statement);
}

function writeStatement(batch: MessageBatch, statement: NftStatement): void {
  switch (statement.kind) {
    case "match-set": {
      const { family, field, set, isInverted } = statement;
      writeKey(batch, family, [field]);
      return writeExpression(batch, "lookup", () => {
        batch.attributeText(1, set).attributeU32be(2, register1);
        if (isInverted) batch.attributeU32be(5, lookupInverted);
      });
    }
    case "match-network":
      return writeNetwork(batch, statement);
    case "match-key":
      writeKey(batch, statement.family, statement.key);
      return writeExpression(batch, "lookup", () =>
        batch.attributeText(1, statement.map).attributeU32be(2, register1),
      );
    case "match-local":
      writeExpression(batch, "fib", () => {
        batch.attributeU32be(1, register1).attributeU32be(2, fibAddressType);
        batch.attributeU32be(3, fibFlag[statement.field]);
      });
      return writeCompare(batch, localAddressType);
    case "match-source-translated":
      return writeSourceTranslated(batch);
    case "match-interface": {
      writeMeta(batch, metaKey[statement.field]);
      return writeCompare(batch, interfaceNameOf(statement.name), statement.isInverted);
    }
    case "match-interface-index":
      writeMeta(batch, metaKey[statement.field]);
      return writeCompare(batch, new Uint8Array(Uint32Array.of(statement.index).buffer));
    case "match-port": {
      if (statement.protocol !== undefined) {
        writeMeta(batch, metaKey.l4proto);
        writeCompare(batch, Uint8Array.of(protocolNumber[statement.protocol]));
      }
      const at = statement.field === "sport" ? sourcePort : destinationPort;
      writePayload(batch, { base: payloadBase.transport, ...at });
      return writeCompare(batch, Uint8Array.of(statement.port >> 8, statement.port & 0xff));
    }
    case "masquerade":
      return writeExpression(batch, "masq", () => {
        if (statement.fullyRandom) batch.attributeU32be(1, natFullyRandom);
      });
    case "dnat-to-map":
      return writeDnat(batch, statement);
    case "notrack":
      return writeExpression(batch, "notrack", () => {});
    case "drop":
    case "return":
      return writeVerdict(batch, verdict[statement.kind]);
    case "jump":
      return writeVerdict(batch, verdict.jump, statement.chain);
    default:
      return assertNever(statement);
  }
}

function writeNetwork(
  batch: MessageBatch,
  { field, network }: Extract<NftStatement, { readonly kind: "match-network" }>,
): void {
  const prefixLength = cidrPrefixLength(network);
  invariant(prefixLength > 0 && prefixLength % 8 === 0, `${network} begins with whole octets`);
  const length = prefixLength / 8;
  const family = familyOf(network);
  writeFamily(batch, family);
  const { [field]: offset } = addressAt[family];
  writePayload(batch, { base: payloadBase.network, offset, length });
  writeCompare(batch, ipToBytes(cidrBase(network)).subarray(0, length));
}

function writeSourceTranslated(batch: MessageBatch): void {
  writeExpression(batch, "ct", () => {
    batch.attributeU32be(1, register1).attributeU32be(2, connectionStatus);
  });
  writeExpression(batch, "bitwise", () => {
    batch.attributeU32be(1, register1).attributeU32be(2, register1);
    batch.attributeU32be(3, sourceTranslated.length);
    batch.nested(4, () => batch.attributeOctets(dataValue, sourceTranslated));
    batch.nested(5, () => batch.attributeOctets(dataValue, Buffer.alloc(sourceTranslated.length)));
  });
  writeCompare(batch, Buffer.alloc(sourceTranslated.length), true);
}

function writeExpression(batch: MessageBatch, name: string, attributes: () => void): void {
  batch.nested(listElement, () => {
    batch.attributeText(expression.name, name).nested(expression.data, attributes);
  });
}

/** The name with zeros to its end; the beginning alone where `*` stands for the rest. */
function interfaceNameOf(name: string): Uint8Array {
  if (name.endsWith("*")) return Buffer.from(name.slice(0, -1));
  const octets = Buffer.alloc(interfaceNameOctets);
  octets.write(name);
  return octets;
}

/**
 * Loads the parts of a key, one behind the other, from the first register on. For packets of the
 * family alone: where an address is depends on it, and so does what a port's map leads to.
 */
function writeKey(batch: MessageBatch, family: Family, key: readonly NftKeyField[]): void {
  writeFamily(batch, family);
  let slot = 0;
  for (const field of key) {
    const register = registerOf(slot);
    if (field === "l4proto") {
      writeMeta(batch, metaKey.l4proto, register);
      slot += 1;
    } else if (field === "dport") {
      writePayload(batch, { base: payloadBase.transport, ...destinationPort, register });
      slot += 1;
    } else {
      const { length, [field]: offset } = addressAt[family];
      writePayload(batch, { base: payloadBase.network, offset, length, register });
      slot += length / slotOctets;
    }
  }
}

// Registers of 16 octets are 1 to 4, and 8 to 23 name the same room by 4 octets. nft takes the large
// one wherever one begins.
const registerOf = (slot: number): number => (slot % 4 === 0 ? 1 + slot / 4 : 8 + slot);

function writeDnat(
  batch: MessageBatch,
  { family, key, map }: Extract<NftStatement, { readonly kind: "dnat-to-map" }>,
): void {
  writeKey(batch, family, key);
  writeExpression(batch, "lookup", () => {
    batch.attributeText(1, map).attributeU32be(2, register1).attributeU32be(3, register1);
  });
  writeExpression(batch, "nat", () => {
    batch.attributeU32be(1, destinationNat).attributeU32be(2, nfproto(family));
    batch.attributeU32be(3, register1);
    batch.attributeU32be(5, registerOf(addressAt[family].length / slotOctets));
  });
}

function writeFamily(batch: MessageBatch, family: Family): void {
  writeMeta(batch, metaKey.nfproto);
  writeCompare(batch, Uint8Array.of(nfproto(family)));
}

const writeMeta = (batch: MessageBatch, key: number, register = register1): void =>
  writeExpression(batch, "meta", () => {
    batch.attributeU32be(2, key).attributeU32be(1, register);
  });

interface Payload {
  readonly base: number;
  readonly offset: number;
  readonly length: number;
  readonly register?: number;
}

const writePayload = (batch: MessageBatch, payload: Payload): void =>
  writeExpression(batch, "payload", () => {
    const { base, offset, length, register = register1 } = payload;
    batch.attributeU32be(1, register).attributeU32be(2, base);
    batch.attributeU32be(3, offset).attributeU32be(4, length);
  });

const writeCompare = (batch: MessageBatch, value: Uint8Array, isInverted = false): void =>
  writeExpression(batch, "cmp", () => {
    batch.attributeU32be(1, register1);
    batch.attributeU32be(2, isInverted ? compare.notEqual : compare.equal);
    batch.nested(3, () => batch.attributeOctets(dataValue, value));
  });

const writeVerdict = (batch: MessageBatch, code: number, target?: string): void =>
  writeExpression(batch, "immediate", () => {
    batch.attributeU32be(1, verdictRegister);
    batch.nested(2, () =>
      batch.nested(dataVerdict, () => {
        batch.attributeU32be(verdictCode, code);
        if (target !== undefined) batch.attributeText(verdictChain, target);
      }),
    );
  });
