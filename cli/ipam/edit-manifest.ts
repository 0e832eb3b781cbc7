// Pod CIDRs into the text of a manifest. Pure. The text is cut open at one place where that can be
// done, so that comments, quotes and indents stay as the operator wrote them; what comes out is
// parsed again and must say the same as before, but for the pod CIDRs.
import { isDeepStrictEqual } from "node:util";
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseAllDocuments,
  type Pair,
  type YAMLMap,
} from "yaml";

type Wanted = ReadonlyMap<string, readonly string[]>;

/** The manifest with `spec.podCIDRs` of these Nodes as given. Throws when the text has not all of them. */
export function writePodCidrs(text: string, wanted: Wanted): string {
  const documents = documentsOf(text);
  const places = placesOf(documents);
  const insertions = [...wanted].map(([name, podCidrs]) => {
    const place = places.get(name);
    if (place === undefined) throw new Error(`Cannot find Node ${name} in the manifest`);
    return insertionFor(text, place.map, podCidrs);
  });
  for (const [name, podCidrs] of wanted) setPodCidrs(name, places.get(name), podCidrs);
  const inserted = insertAll(text, insertions);
  if (inserted !== undefined) {
    const isSame = isDeepStrictEqual(dataOf(documentsOf(inserted)), dataOf(documents));
    if (isSame) return inserted;
  }
  return writeJson(text, documents) ?? writeAll(documents);
}

const documentsOf = (text: string): Document.Parsed[] => {
  const parsed = parseAllDocuments(text);
  return "empty" in parsed ? [] : parsed;
};

const dataOf = (documents: readonly Document.Parsed[]): unknown =>
  documents.flatMap((document) => (document.contents === null ? [] : [document.toJS()]));

interface NodePlace {
  readonly document: Document.Parsed;
  readonly path: readonly (string | number)[];
  readonly map: YAMLMap;
}

function placesOf(documents: readonly Document.Parsed[]): ReadonlyMap<string, NodePlace> {
  const found = new Map<string, NodePlace>();
  for (const document of documents) {
    const { contents } = document;
    if (!isMap(contents)) continue;
    const items = contents.getIn(["items"], true);
    const isList = contents.getIn(["kind"]) === "List" && isSeq(items);
    const places = isList
      ? items.items.map((map, i) => ({ map, path: ["items", i] }))
      : [{ map: contents, path: [] }];
    for (const { map, path } of places) {
      if (!isMap(map) || map.getIn(["kind"]) !== "Node") continue;
      const name = map.getIn(["metadata", "name"]);
      if (typeof name === "string") found.set(name, { document, path, map });
    }
  }
  return found;
}

// The library's own way: it knows every form, and writes the document in its own layout.
function setPodCidrs(
  name: string,
  place: NodePlace | undefined,
  podCidrs: readonly string[],
): void {
  if (place === undefined) return;
  const { document, path } = place;
  const spec = [...path, "spec"];
  if (isAlias(document.getIn(spec, true)) || isAlias(document.getIn([...spec, "podCIDRs"], true))) {
    throw new Error(`Cannot write into the spec of Node ${name}: it is an alias of another place`);
  }
  if (!isMap(document.getIn(spec, true))) document.setIn(spec, document.createNode({}));
  document.setIn([...spec, "podCIDRs"], document.createNode([...podCidrs], { flow: true }));
}

const writeAll = (documents: readonly Document.Parsed[]): string =>
  documents
    .map((document, i) => {
      const written = document.toString({ lineWidth: 0 });
      return i === 0 || written.startsWith("---") ? written : `---\n${written}`;
    })
    .join("");

/** A JSON manifest keeps its indent, which the YAML library does not know. Undefined for another. */
function writeJson(text: string, [document]: readonly Document.Parsed[]): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  const indent = /^\s*[[{]\n([ \t]+)/.exec(text)?.[1];
  return JSON.stringify(document?.toJS(), null, indent) + (text.endsWith("\n") ? "\n" : "");
}

interface Insertion {
  readonly at: number;
  readonly text: string;
}

/** Undefined where one of them is none. From the last to the first, so that no place moves. */
function insertAll(
  text: string,
  insertions: readonly (Insertion | undefined)[],
): string | undefined {
  const known = insertions.filter((insertion) => insertion !== undefined);
  if (known.length < insertions.length) return undefined;
  return known
    .sort((a, b) => b.at - a.at)
    .reduce((result, { at, text: more }) => result.slice(0, at) + more + result.slice(at), text);
}

/** Undefined where the manifest has a form that takes more than an insertion. */
function insertionFor(
  text: string,
  map: YAMLMap,
  podCidrs: readonly string[],
): Insertion | undefined {
  if (map.flow === true) return undefined;
  const spec = pairOf(map, "spec");
  if (spec === undefined) return insertSpec(text, map, podCidrs);
  if (!isMap(spec.value) || spec.value.flow === true) return undefined;
  const list = pairOf(spec.value, "podCIDRs");
  if (list !== undefined) return extendList(text, list.value, podCidrs);
  const [first] = spec.value.items;
  const at = first === undefined ? undefined : startOf(first);
  if (at === undefined) return undefined;
  return { at, text: `podCIDRs: ${flowList(podCidrs)}\n${indentAt(text, at)}` };
}

function insertSpec(
  text: string,
  map: YAMLMap,
  podCidrs: readonly string[],
): Insertion | undefined {
  const metadata = pairOf(map, "metadata");
  const start = metadata === undefined ? undefined : startOf(metadata);
  const end = metadata === undefined ? undefined : lastOctetOf(metadata.value);
  if (start === undefined || end === undefined) return undefined;
  const newline = text.indexOf("\n", end);
  const indent = indentAt(text, start);
  const lines = `${indent}spec:\n${indent}  podCIDRs: ${flowList(podCidrs)}\n`;
  return newline < 0 ? { at: text.length, text: `\n${lines}` } : { at: newline + 1, text: lines };
}

/** Behind what the list has: a list that begins otherwise is found different afterwards. */
function extendList(
  text: string,
  list: unknown,
  podCidrs: readonly string[],
): Insertion | undefined {
  if (!isSeq(list)) return undefined;
  const more = podCidrs.slice(list.items.length);
  const at = lastOctetOf(list.items.at(-1));
  if (at === undefined) return undefined;
  if (list.flow === true) return { at, text: more.map((cidr) => `, ${quoted(cidr)}`).join("") };
  const newline = text.indexOf("\n", at);
  const line = text.slice(text.lastIndexOf("\n", at - 1) + 1, at);
  const dash = /^\s*- +/.exec(line)?.[0];
  if (dash === undefined || newline < 0) return undefined;
  return { at: newline + 1, text: more.map((cidr) => `${dash}${quoted(cidr)}\n`).join("") };
}

const pairOf = (map: YAMLMap, key: string): Pair | undefined =>
  map.items.find((pair) => isScalar(pair.key) && pair.key.value === key);

const startOf = (pair: Pair): number | undefined =>
  isScalar(pair.key) ? pair.key.range?.[0] : undefined;

/** Where the text of the last value in there ends: a comment behind it stays behind it. */
function lastOctetOf(value: unknown): number | undefined {
  if (isScalar(value)) return value.range?.[1];
  if ((isMap(value) || isSeq(value)) && value.flow === true) return value.range?.[1];
  if (!isMap(value) && !isSeq(value)) return undefined;
  const last = value.items.at(-1);
  return lastOctetOf(isPair(last) ? last.value : last);
}

/** What the line of this place has in front of it, a list's dash as spaces. */
const indentAt = (text: string, at: number): string =>
  text.slice(text.lastIndexOf("\n", at - 1) + 1, at).replaceAll(/\S/g, " ");

// A colon at the end (`fd00::/64` has none there, `fd00::` would) is the only thing YAML could mistake.
const quoted = (cidr: string): string => (cidr.includes(":") ? JSON.stringify(cidr) : cidr);
const flowList = (podCidrs: readonly string[]): string => `[${podCidrs.map(quoted).join(", ")}]`;
