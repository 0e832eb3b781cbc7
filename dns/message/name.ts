declare const brand: unique symbol;

/**
 * A domain name in wire form, one character per octet: each label behind its length, the root's zero
 * at the end, `"\x03www\x07example\x03com\0"`. Any octet is legal in a label (RFC 2181 section 11), so
 * a string of octets keeps what text could not; and it is a map key, a constant and a slice for free.
 * The case is kept; compare {@link foldName}'s result.
 */
export type Name = string & { readonly [brand]: "Name" };

export const maxNameOctets = 255;
export const maxLabelOctets = 63;

export const rootName: Name = brandName("\0");

/** Octets that have been checked to be a whole, uncompressed name. */
export function brandName(wire: string): Name {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the one cast to the brand
  return wire as Name;
}

/**
 * ASCII lower case (RFC 4343): other octets stay. A length octet is at most 63, below "A", so the
 * whole wire form can be folded without looking at labels.
 */
export const foldName = (name: Name): Name =>
  brandName(/[A-Z]/.test(name) ? name.replace(/[A-Z]+/g, (run) => run.toLowerCase()) : name);

/** The labels from left to right, without the root; undefined when one is empty or all too long. */
export function nameOfLabels(labels: readonly string[]): Name | undefined {
  let wire = "";
  for (const label of labels) {
    if (label.length === 0 || label.length > maxLabelOctets) return undefined;
    wire += String.fromCharCode(label.length) + label;
  }
  return wire.length >= maxNameOctets ? undefined : brandName(`${wire}\0`);
}

/** The labels from left to right, without the root. */
export function labelsOf(name: Name): string[] {
  const labels: string[] = [];
  for (let at = 0; at < name.length - 1;) {
    const next = at + 1 + name.charCodeAt(at);
    labels.push(name.slice(at + 1, next));
    at = next;
  }
  return labels;
}

/** A name below `name`; undefined when it becomes too long. */
export const joinName = (labels: readonly string[], name: Name): Name | undefined =>
  nameOfLabels([...labels, ...labelsOf(name)]);

/**
 * The labels in front of `zone` in `name`: none for the zone's own name, undefined outside the zone.
 * Both folded. Only label borders count: `xcorp` is not in `corp`.
 */
export function labelsWithin(name: Name, zone: Name): string[] | undefined {
  const border = name.length - zone.length;
  if (border < 0 || !name.endsWith(zone)) return undefined;
  const labels: string[] = [];
  let at = 0;
  while (at < border) {
    const next = at + 1 + name.charCodeAt(at);
    labels.push(name.slice(at + 1, next));
    at = next;
  }
  return at === border ? labels : undefined;
}

/**
 * The name of text in the form of a zone file (RFC 1035 section 5.1), always taken as absolute, with
 * or without the last dot; `\.` and `\123` are understood. Undefined when it is no name. Characters
 * beyond ASCII are refused: what octets they stand for is not ours to guess.
 */
export function parseName(text: string): Name | undefined {
  if (text === ".") return rootName;
  const labels = labelsOfText(text);
  return labels && nameOfLabels(labels);
}

/** What {@link parseName} has against the text; completes "Cannot …: ". */
export function nameProblem(text: string): string {
  if (text === "") return "it is empty";
  if (/[^\0-\x7f]/.test(text)) {
    return "it has characters beyond ASCII: expected the form that is asked for, xn--…";
  }
  const labels = labelsOfText(text);
  if (labels === undefined) {
    return "it has a space, a control character or a wrong escape: expected \\ and three digits up to 255, or \\ and a character";
  }
  if (labels.includes("")) return "it has an empty label: expected text before and between dots";
  const long = labels.find(({ length }) => length > maxLabelOctets);
  if (long !== undefined) {
    return `its label ${long.slice(0, 16)}… has ${long.length} octets: expected up to ${maxLabelOctets}`;
  }
  const octets = labels.reduce((sum, { length }) => sum + length + 1, -1);
  return `it has ${octets} octets: expected up to ${maxNameOctets - 2}`;
}

/** Without the root; one may be empty or too long. */
function labelsOfText(text: string): string[] | undefined {
  if (text === "" || !/^(?:[\x21-\x5b\x5d-\x7e]|\\\d{3}|\\[^\d])+$/.test(text)) return undefined;
  const labels: string[] = [""];
  for (const [part] of text.matchAll(/\\\d{3}|\\.|[^\\]/g)) {
    if (part === ".") {
      labels.push("");
      continue;
    }
    const octet = part.length === 4 ? Number(part.slice(1)) : part.charCodeAt(part.length - 1);
    if (octet > 255) return undefined;
    labels[labels.length - 1] += String.fromCharCode(octet);
  }
  if (labels.at(-1) === "") labels.pop();
  return labels;
}

/** Text that {@link parseName} reads back, without the last dot; the root is ".". */
export const formatName = (name: Name): string =>
  name === rootName ? "." : labelsOf(name).map(formatLabel).join(".");

const formatLabel = (label: string): string =>
  label.replace(/[^\x21-\x7e]|[.\\"();@$]/g, (octet) =>
    /[\x21-\x7e]/.test(octet) ? `\\${octet}` : `\\${String(octet.charCodeAt(0)).padStart(3, "0")}`,
  );
