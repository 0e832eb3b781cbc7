// YAML text → values with their places: configuration and manifests name the line of what is wrong.
import { type Document, isNode, LineCounter, parseAllDocuments, visit } from "yaml";

/** Where something is, as keys and indexes from the top of a document. */
export type Path = readonly (string | number)[];

export interface YamlDocument {
  /** Plain data. A key with nothing after it (null) is left out: it means what no key means. */
  readonly value: unknown;
  /** Line, from 1, of what is at the path, or of its nearest parent that is there. */
  lineOf(path: Path): number;
}

export interface YamlProblem {
  readonly line: number;
  readonly message: string;
}

export interface YamlFile {
  readonly documents: readonly YamlDocument[];
  /** Not empty: the text is not YAML, and `documents` is empty. */
  readonly problems: readonly YamlProblem[];
}

/** Every document of a YAML (or JSON) text. Empty documents are left out. */
export function parseYaml(text: string): YamlFile {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    version: "1.2",
  });
  const documents = "empty" in parsed ? [] : parsed;
  const problems = documents.flatMap((document) =>
    document.errors.map((error) => ({
      line: lines.linePos(error.pos[0]).line,
      message: `Cannot parse YAML: ${error.message}`,
    })),
  );
  if (problems.length > 0) return { documents: [], problems };
  try {
    return {
      documents: documents
        .map((document) => openDocument(document, lines))
        .filter(({ value }) => value !== null),
      problems: [],
    };
  } catch (cause) {
    // toJS refuses aliases that expand without limit ("billion laughs").
    const message = cause instanceof Error ? cause.message : String(cause);
    const line = lineOfUnresolved(documents, lines) ?? 1;
    return { documents: [], problems: [{ line, message: `Cannot parse YAML: ${message}` }] };
  }
}

/** Of the first alias without an anchor before it, which only toJS minds. */
function lineOfUnresolved(
  documents: readonly Document.Parsed[],
  lines: LineCounter,
): number | undefined {
  let line: number | undefined;
  for (const document of documents) {
    visit(document, {
      Alias: (_key, alias) => {
        if (alias.resolve(document) !== undefined) return undefined;
        line = alias.range ? lines.linePos(alias.range[0]).line : undefined;
        return visit.BREAK;
      },
    });
    if (line !== undefined) break;
  }
  return line;
}

function openDocument(document: Document.Parsed, lines: LineCounter): YamlDocument {
  return {
    value: withoutNulls(document.toJS({ maxAliasCount: 100 })),
    lineOf: (path) => {
      for (let length = path.length; length >= 0; length--) {
        const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
        if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
      }
      return 1;
    },
  };
}

/** Plain data that came as JSON: it has no lines. */
export const documentOf = (value: unknown): YamlDocument => ({
  value: withoutNulls(value),
  lineOf: () => 1,
});

/** Plain data without the keys that have null. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isRecord(value)) return value;
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    if (inner !== null) result[key] = withoutNulls(inner);
  }
  return result;
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A path as one reads it: `network.podCIDRs[1]`. */
export const formatPath = (path: Path): string =>
  path.reduce<string>(
    (text, part) =>
      typeof part === "number"
        ? `${text}[${part}]`
        : /^[\w-]+$/.test(part)
          ? text === ""
            ? part
            : `${text}.${part}`
          : `${text}["${part}"]`,
    "",
  );

/** A value in a message: as JSON, cut off where it gets long. */
export function formatValue(value: unknown): string {
  const isNumber = typeof value === "number";
  // JSON has neither .inf nor .nan.
  const text = isNumber ? String(value) : (JSON.stringify(value) ?? "nothing");
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
