// A process that reads and parses files, hands over what it found, and ends: what parsing took of memory
// goes with it, which that of a thread does not.
import { promisify } from "node:util";
import type { ManifestObject } from "./manifest.ts";
import { readManifest, type ReadManifest } from "./read-manifest.ts";

/** What it is told to read: paths, each with the stamp of the version that is known. */
export type FilesToRead = readonly (readonly [path: string, lastStamp: string | undefined])[];

export type FromManifestProcess =
  /** Objects of the file that the next result is about, when they are many. */
  | { readonly kind: "objects"; readonly objects: readonly ManifestObject[] }
  | { readonly kind: "results"; readonly results: readonly (readonly [string, ReadManifest])[] }
  /** All that was asked for has been told. */
  | { readonly kind: "end" };

// Each message is taken apart in the daemon in one go: some 10 µs an object.
const objectsPerMessage = 256;

// Awaited, so that no more than one message is on its way.
const post: (message: FromManifestProcess) => Promise<unknown> = promisify(
  (message: FromManifestProcess, done: (error: Error | null) => void) =>
    void process.send?.(message, done),
);

async function work(files: FilesToRead): Promise<void> {
  let results: (readonly [string, ReadManifest])[] = [];
  let objects = 0;
  const flush = async (): Promise<void> => {
    if (results.length > 0) await post({ kind: "results", results });
    results = [];
    objects = 0;
  };
  for (const [path, lastStamp] of files) {
    const read = readManifest(path, lastStamp);
    const count =
      read.kind === "read" && read.manifest.kind === "valid" ? read.manifest.objects.length : 1;
    if (objects + count > objectsPerMessage) await flush();
    results.push([path, count > objectsPerMessage ? await withoutObjects(read) : read]);
    objects += count;
  }
  await flush();
  await post({ kind: "end" });
}

/** Sends the objects ahead, in pieces. */
async function withoutObjects(read: ReadManifest): Promise<ReadManifest> {
  if (read.kind !== "read" || read.manifest.kind !== "valid") return read;
  const { objects } = read.manifest;
  for (let at = 0; at < objects.length; at += objectsPerMessage) {
    await post({ kind: "objects", objects: objects.slice(at, at + objectsPerMessage) });
  }
  return { ...read, manifest: { ...read.manifest, objects: [] } };
}

process.once("message", (files: FilesToRead) => {
  // A message that cannot be sent: the daemon has gone.
  work(files).then(
    () => process.disconnect?.(),
    () => process.exit(1),
  );
});
