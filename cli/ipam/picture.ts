// How full a block is, as text: one character for one address, or for a power of two of them.
import {
  type Cidr,
  cidrBase,
  cidrSize,
  familyOf,
  type Ip,
  ipToBigInt,
} from "../../core/address.ts";
import { type Range, givable } from "../../ipam/range.ts";

export interface Picture {
  /** How many addresses a character stands for. */
  readonly perCharacter: bigint;
  readonly lines: readonly string[];
}

export interface PictureInput {
  readonly range: Range;
  readonly held: readonly Ip[];
  readonly quarantined: readonly Ip[];
  /** Of a line, 16 at least. */
  readonly width: number;
}

export const legend = "# held  + some held  ~ quarantine  x reserved  - not a pod's  . free";

const mostCharacters = 256n;

interface Cell {
  held: bigint;
  quarantined: bigint;
}

export function drawBlock({ range, held, quarantined, width }: PictureInput): Picture {
  const { subnet } = range;
  const size = cidrSize(subnet);
  const perCharacter = size > mostCharacters ? size / mostCharacters : 1n;
  const base = ipToBigInt(cidrBase(subnet));
  const cells = Array.from({ length: Number(size / perCharacter) }, (): Cell => ({
    held: 0n,
    quarantined: 0n,
  }));
  const count = (addresses: readonly Ip[], key: keyof Cell): void => {
    for (const address of addresses.filter((one) => isIn(subnet, size, one))) {
      const cell = cells[Number((ipToBigInt(address) - base) / perCharacter)];
      if (cell !== undefined) cell[key]++;
    }
  };
  count(held, "held");
  count(quarantined, "quarantined");
  const text = cells
    .map((cell, i) => {
      const first = base + BigInt(i) * perCharacter;
      return symbolOf(cell, range, first, first + perCharacter - 1n);
    })
    .join("");
  return { perCharacter, lines: cut(text, lineLength(width)) };
}

function isIn(subnet: Cidr, size: bigint, address: Ip): boolean {
  if (familyOf(address) !== familyOf(subnet)) return false;
  const offset = ipToBigInt(address) - ipToBigInt(cidrBase(subnet));
  return offset >= 0n && offset < size;
}

function symbolOf({ held, quarantined }: Cell, range: Range, first: bigint, last: bigint): string {
  const free = overlap(givable(range), first, last);
  // One that is reserved since it was given is held all the same.
  if (held > 0n) return held >= free ? "#" : "+";
  if (free === 0n) {
    const reserved = range.excluded.filter(({ reason }) => reason === "reserved");
    return overlap(reserved, first, last) > 0n ? "x" : "-";
  }
  return quarantined > 0n ? "~" : ".";
}

function overlap(
  spans: readonly { readonly first: bigint; readonly last: bigint }[],
  first: bigint,
  last: bigint,
): bigint {
  let count = 0n;
  for (const span of spans) {
    const from = span.first > first ? span.first : first;
    const to = span.last < last ? span.last : last;
    if (from <= to) count += to - from + 1n;
  }
  return count;
}

// A power of two, so that a column means the same in every line.
const lineLength = (width: number): number =>
  2 ** Math.min(6, Math.max(4, Math.floor(Math.log2(width))));

const cut = (text: string, length: number): readonly string[] =>
  Array.from({ length: Math.ceil(text.length / length) }, (_, i) =>
    text.slice(i * length, (i + 1) * length),
  );
