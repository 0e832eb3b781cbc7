// What of a document its schema accepts, where it does not accept all of it: what is wrong is left out, as
// though it were not there, so that the rest can be looked at all the same.
import type * as v from "valibot";
import { validate } from "../files/validate.ts";
import { isRecord, type Path, type YamlDocument } from "../files/yaml-file.ts";

export interface ReadablePart<T> {
  readonly value: T;
  /** Whether a value at this path, or around it, was left out: what is there now is a default. */
  readonly isLeftOut: (path: Path) => boolean;
  /** Where in the document that is which is at the path now: elements of lists have moved up. */
  readonly original: (path: Path) => Path;
}

/** A value that becomes acceptable takes a few rounds: without its name a pool is left out as a whole. */
const mostRounds = 8;

/** Undefined where nothing is left that would be accepted. */
export function readablePart<T>(
  schema: v.GenericSchema<unknown, T>,
  document: YamlDocument,
): ReadablePart<T> | undefined {
  const leftOut = new Set<string>();
  for (let round = 0; round < mostRounds; round++) {
    const { value, places } = pruned(document.value, leftOut);
    const original = (path: Path): Path => originalOf(places, path);
    const checked = validate(schema, document, value);
    if (checked.kind === "valid") {
      const isLeftOut = (path: Path): boolean =>
        path.some((_, i) => leftOut.has(keyOf(path.slice(0, i + 1))));
      return { value: checked.value, isLeftOut, original };
    }
    for (const path of checked.paths) leftOut.add(keyOf(nearestPresent(value, original, path)));
  }
  return undefined;
}

/** By the new path of an element's list, the old index of each element that is left. */
type Places = ReadonlyMap<string, readonly number[]>;

function pruned(
  root: unknown,
  leftOut: ReadonlySet<string>,
): { readonly value: unknown; readonly places: Places } {
  const places = new Map<string, readonly number[]>();
  const prune = (value: unknown, old: Path, path: Path): unknown => {
    if (Array.isArray(value)) {
      const kept = [...value.keys()].filter((i) => !leftOut.has(keyOf([...old, i])));
      places.set(keyOf(path), kept);
      return kept.map((i, at) => prune(value[i], [...old, i], [...path, at]));
    }
    if (!isRecord(value)) return value;
    const entries = Object.entries(value).filter(([key]) => !leftOut.has(keyOf([...old, key])));
    return Object.fromEntries(
      entries.map(([key, inner]) => [key, prune(inner, [...old, key], [...path, key])]),
    );
  };
  return { value: leftOut.has(keyOf([])) ? {} : prune(root, [], []), places };
}

const originalOf = (places: Places, path: Path): Path =>
  path.map((part, i) =>
    typeof part === "number" ? (places.get(keyOf(path.slice(0, i)))?.[part] ?? part) : part,
  );

// What is missing cannot be left out: that which lacks it is.
function nearestPresent(value: unknown, original: (path: Path) => Path, path: Path): Path {
  let [current, length] = [value, 0];
  for (const part of path) {
    const inner: unknown = Array.isArray(current)
      ? current[Number(part)]
      : isRecord(current)
        ? current[part]
        : undefined;
    if (inner === undefined) break;
    [current, length] = [inner, length + 1];
  }
  return original(path.slice(0, length));
}

const keyOf = (path: Path): string => JSON.stringify(path);
