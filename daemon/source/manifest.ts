// A file of Kubernetes manifests → the objects in it, or every problem with its line. Pure: reading
// the file is the source's part.
import type { Problem } from "../files/validate.ts";
import { isRecord, parseYaml, type YamlDocument } from "../files/yaml-file.ts";
import {
  type ClusterObject,
  clusterObjectKey,
  type Place,
  readClusterObject,
} from "./cluster-object.ts";

export interface ManifestObject {
  readonly key: string;
  readonly value: ClusterObject;
  readonly line: number;
}

export type Manifest =
  | {
      readonly kind: "valid";
      readonly objects: readonly ManifestObject[];
      /** What is in the file and fairlead has no use for: `apps/v1 Deployment`. */
      readonly ignored: readonly string[];
    }
  /** Nothing of the file is used. */
  | { readonly kind: "invalid"; readonly problems: readonly Problem[] };

/** Every object of every document of the text, `v1 List` taken apart. */
export function parseManifest(text: string): Manifest {
  const file = parseYaml(text);
  const problems: Problem[] = [...file.problems];
  const objects = new Map<string, ManifestObject>();
  const ignored = new Set<string>();
  for (const place of file.documents.flatMap(placesOf)) {
    const read = readClusterObject(place);
    switch (read.kind) {
      case "invalid":
        problems.push(...read.problems);
        break;
      case "ignored":
        ignored.add(read.what);
        break;
      case "object": {
        const key = clusterObjectKey(read.value);
        const line = place.document.lineOf(place.path);
        const first = objects.get(key);
        if (first === undefined) objects.set(key, { key, value: read.value, line });
        else {
          const message = `Cannot use a second ${key}: the first is in line ${first.line}`;
          problems.push({ line, message });
        }
      }
    }
  }
  return problems.length > 0
    ? { kind: "invalid", problems }
    : { kind: "valid", objects: [...objects.values()], ignored: [...ignored] };
}

function placesOf(document: YamlDocument): readonly Place[] {
  const { value } = document;
  const isList = isRecord(value) && value["apiVersion"] === "v1" && value["kind"] === "List";
  if (!isList || !Array.isArray(value["items"])) return [{ document, path: [], value }];
  return value["items"].map((item: unknown, i) => ({ document, path: ["items", i], value: item }));
}
