// Statements as nf_tables expressions: a register is loaded, compared, looked up. The sequences are
// those that nft(8) makes of the same text, so that it can print them back.
import type { Family } from "../core/address.ts";
import { assertNever } from "../core/assert.ts";
import type { NftStatement } from "../core/nft.ts";
import type { MessageBatch } from "./message.ts";

// <linux/netfilter/nf_tables.h>. Numbers are in network byte order.
const listElement = 1;
const expression = { name: 1, data: 2 } as const;
const dataValue = 1;
const dataVerdict = 2;
const verdictCode = 1;
const register1 = 1;
const verdictRegister = 0;
const metaKey = { iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 } as const;
const payloadBase = { network: 1, transport: 2 } as const;
const compare = { equal: 0, notEqual: 1 } as const;
const lookupInverted = 1;
/** NF_NAT_RANGE_PROTO_RANDOM_FULLY. */
const natFullyRandom = 16;
const verdict = { accept: 1, return: -5 } as const;
const protocolNumber = { tcp: 6, udp: 17 } as const;
const nfproto = (family: Family): number => (family === 4 ? 2 : 10);
const interfaceNameOctets = 16;

// Where the addresses are in the network header: RFC 791 section 3.1, RFC 8200 section 3.
const addressAt = {
  4: { saddr: 12, daddr: 16, length: 4 },
  6: { saddr: 8, daddr: 24, length: 16 },
} as const;
const destinationPort = { offset: 2, length: 2 } as const;

export function writeStatements(batch: MessageBatch, statements: readonly NftStatement[]): void {
  for (const statement of statements) writeStatement(batch, statement);
}

function writeStatement(batch: MessageBatch, statement: NftStatement): void {
  switch (statement.kind) {
    case "match-set": {
      const { family, field, set, isInverted } = statement;
      const at = addressAt[family];
      writeMeta(batch, metaKey.nfproto);
      writeCompare(batch, Uint8Array.of(nfproto(family)));
      writePayload(batch, payloadBase.network, at[field], at.length);
      return writeExpression(batch, "lookup", () => {
        batch.attributeText(1, set).attributeU32be(2, register1);
        if (isInverted) batch.attributeU32be(5, lookupInverted);
      });
    }
    case "match-interface": {
      writeMeta(batch, metaKey[statement.field]);
      const name = Buffer.alloc(interfaceNameOctets);
      name.write(statement.name);
      return writeCompare(batch, name, statement.isInverted);
    }
    case "match-port": {
      writeMeta(batch, metaKey.l4proto);
      writeCompare(batch, Uint8Array.of(protocolNumber[statement.protocol]));
      writePayload(batch, payloadBase.transport, destinationPort.offset, destinationPort.length);
      return writeCompare(batch, Uint8Array.of(statement.port >> 8, statement.port & 0xff));
    }
    case "masquerade":
      return writeExpression(batch, "masq", () => {
        if (statement.fullyRandom) batch.attributeU32be(1, natFullyRandom);
      });
    case "notrack":
      return writeExpression(batch, "notrack", () => {});
    case "accept":
    case "return":
      return writeVerdict(batch, verdict[statement.kind]);
    default:
      return assertNever(statement);
  }
}

function writeExpression(batch: MessageBatch, name: string, attributes: () => void): void {
  batch.nested(listElement, () => {
    batch.attributeText(expression.name, name).nested(expression.data, attributes);
  });
}

const writeMeta = (batch: MessageBatch, key: number): void =>
  writeExpression(batch, "meta", () => {
    batch.attributeU32be(2, key).attributeU32be(1, register1);
  });

const writePayload = (batch: MessageBatch, base: number, offset: number, length: number): void =>
  writeExpression(batch, "payload", () => {
    batch.attributeU32be(1, register1).attributeU32be(2, base);
    batch.attributeU32be(3, offset).attributeU32be(4, length);
  });

const writeCompare = (batch: MessageBatch, value: Uint8Array, isInverted = false): void =>
  writeExpression(batch, "cmp", () => {
    batch.attributeU32be(1, register1);
    batch.attributeU32be(2, isInverted ? compare.notEqual : compare.equal);
    batch.nested(3, () => batch.attributeOctets(dataValue, value));
  });

const writeVerdict = (batch: MessageBatch, code: number): void =>
  writeExpression(batch, "immediate", () => {
    batch.attributeU32be(1, verdictRegister);
    batch.nested(2, () => batch.nested(dataVerdict, () => batch.attributeU32be(verdictCode, code)));
  });
