// A thread that reads and parses files, hands over what it found, and ends: what parsing took of memory
// goes with it.
import { parentPort, workerData } from "node:worker_threads";
import type { ManifestObject } from "./manifest.ts";
import { readManifest, type ReadManifest } from "./read-manifest.ts";

/** What the thread is started with: paths, each with the stamp of the version that is known. */
export type FilesToRead = readonly (readonly [path: string, lastStamp: string | undefined])[];

export type FromManifestWorker =
  /** Objects of the file that the next result is about, when they are many. */
  | { readonly kind: "objects"; readonly objects: readonly ManifestObject[] }
  | { readonly kind: "results"; readonly results: readonly (readonly [string, ReadManifest])[] };

// Each message is taken apart on the main thread, in one go: some 10 µs an object.
const objectsPerMessage = 256;

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- not a window's
const post = (message: FromManifestWorker): void => parentPort?.postMessage(message);

function work(files: FilesToRead): void {
  let results: (readonly [string, ReadManifest])[] = [];
  let objects = 0;
  const flush = (): void => {
    if (results.length > 0) post({ kind: "results", results });
    results = [];
    objects = 0;
  };
  for (const [path, lastStamp] of files) {
    const read = readManifest(path, lastStamp);
    const count =
      read.kind === "read" && read.manifest.kind === "valid" ? read.manifest.objects.length : 1;
    if (objects + count > objectsPerMessage) flush();
    results.push([path, count > objectsPerMessage ? withoutObjects(read) : read]);
    objects += count;
  }
  flush();
}

/** Sends the objects ahead, in pieces. */
function withoutObjects(read: ReadManifest): ReadManifest {
  if (read.kind !== "read" || read.manifest.kind !== "valid") return read;
  const { objects } = read.manifest;
  for (let at = 0; at < objects.length; at += objectsPerMessage) {
    post({ kind: "objects", objects: objects.slice(at, at + objectsPerMessage) });
  }
  return { ...read, manifest: { ...read.manifest, objects: [] } };
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what manifest-reader.ts starts it with
work(workerData as FilesToRead);
