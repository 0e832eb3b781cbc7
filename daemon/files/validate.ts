// A schema's verdict on a YAML document, as problems an operator can act on: line, key, value, and
// what is accepted.
import * as v from "valibot";
import { listWords } from "../../core/schema.ts";
import { formatPath, formatValue, isRecord, type Path, type YamlDocument } from "./yaml-file.ts";

export interface Problem {
  readonly line: number;
  readonly message: string;
}

export type Validated<T> =
  | { readonly kind: "valid"; readonly value: T }
  /** `paths`: of what was not accepted, or is missing; below the value that was checked. */
  | {
      readonly kind: "invalid";
      readonly problems: readonly Problem[];
      readonly paths: readonly Path[];
    };

export interface ValidateOptions {
  /** Where the checked value is in the document. */
  readonly path?: Path;
  /** Completes a message after the key: ` of Node node-a`. */
  readonly subject?: string;
}

/** Checks what is at `options.path` of the document. */
export function validate<T>(
  schema: v.GenericSchema<unknown, T>,
  document: YamlDocument,
  value: unknown,
  options: ValidateOptions = {},
): Validated<T> {
  const result = v.safeParse(schema, value);
  if (result.success) return { kind: "valid", value: result.output };
  const { path: base = [], subject = "" } = options;
  const problems = result.issues.map((issue) => {
    const path = pathOf(issue);
    const at = [...base, ...path];
    const key = formatPath(path);
    const found = valueAt(value, path);
    const expected = expectedBy(issue, schema);
    const message =
      found === undefined
        ? `Cannot find ${key}${subject}${expected === undefined ? "" : `: expected ${expected}`}`
        : `Cannot use ${key === "" ? "" : `${key} `}${formatValue(found)}${subject}: expected ${expected ?? "something else"}`;
    return { line: document.lineOf(at), message };
  });
  return { kind: "invalid", problems, paths: result.issues.map(pathOf) };
}

/**
 * Keys of `value` that the schema does not have, at any depth, each with the nearest one it has; and
 * lists where it has a mapping, which valibot takes for an empty one.
 */
export function checkKeys(
  schema: unknown,
  document: YamlDocument,
  value: unknown,
  path: Path = [],
): readonly Problem[] {
  const item = unwrap(schema)?.["item"];
  if (item !== undefined && Array.isArray(value)) {
    return value.flatMap((inner, i) => checkKeys(item, document, inner, [...path, i]));
  }
  const entries = entriesOf(schema);
  if (entries === undefined) return [];
  if (Array.isArray(value)) {
    const key = path.length === 0 ? "" : `${formatPath(path)} `;
    const message = `Cannot use ${key}${formatValue(value)}: expected a mapping`;
    return [{ line: document.lineOf(path), message }];
  }
  if (!isRecord(value)) return [];
  const known = Object.keys(entries);
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = [...path, key];
    if (key in entries) return checkKeys(entries[key], document, inner, at);
    const nearest = nearestWord(key, known);
    const hint =
      nearest === undefined
        ? `known keys are ${listWords(known, "and")}`
        : `did you mean "${nearest}"`;
    return [{ line: document.lineOf(at), message: `Unknown key ${formatPath(at)}: ${hint}` }];
  });
}

function pathOf(issue: v.BaseIssue<unknown>): Path {
  return (issue.path ?? []).map((item) =>
    typeof item.key === "number" ? item.key : String(item.key),
  );
}

function valueAt(value: unknown, path: Path): unknown {
  let current = value;
  for (const part of path) {
    if (Array.isArray(current)) current = current[Number(part)];
    else if (isRecord(current)) current = current[part];
    else return undefined;
  }
  return current;
}

// Our building blocks put what they accept into the message; valibot's own say it in `expected`, as
// the name of a type. Of a missing key valibot only gives the name, so its schema is asked.
function expectedBy(issue: v.BaseIssue<unknown>, schema: unknown): string | undefined {
  if (issue.type === "object" && issue.input === undefined) {
    return messageOf(schemaAt(schema, pathOf(issue)));
  }
  if (!issue.message.startsWith("Invalid ")) return issue.message;
  return issue.expected === "Array" ? "a list" : "a mapping";
}

function schemaAt(schema: unknown, path: Path): unknown {
  let current = unwrap(schema);
  for (const part of path) {
    const next = typeof part === "number" ? current?.["item"] : entriesOf(current)?.[part];
    current = unwrap(next);
  }
  return current;
}

function messageOf(schema: unknown): string | undefined {
  const message = unwrap(schema)?.["message"];
  return typeof message === "string" ? message : undefined;
}

function entriesOf(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  const entries = unwrap(schema)?.["entries"];
  return isRecord(entries) ? entries : undefined;
}

/** The schema inside optional() and at the head of pipe(). */
function unwrap(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isRecord(schema)) return undefined;
  const { wrapped, pipe } = schema;
  if (isRecord(wrapped)) return unwrap(wrapped);
  // A pipe is the head's own fields and the list of its steps, the head first.
  const head: unknown = Array.isArray(pipe) ? pipe[0] : undefined;
  return isRecord(head) && head !== schema && "wrapped" in head ? unwrap(head) : schema;
}

/** The nearest of the known words, if one is near enough to be what was meant. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  const lower = word.toLowerCase();
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(lower, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  const farthest = word.length < 4 ? 1 : Math.max(2, word.length / 3);
  return best !== undefined && best.distance <= farthest ? best.candidate : undefined;
}

// Levenshtein's distance, one row at a time.
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
