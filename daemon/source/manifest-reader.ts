// Files read and parsed: few and small ones here, more than that in a thread, so that requests and probes
// are answered meanwhile.
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { ManifestObject } from "./manifest.ts";
import type { FilesToRead, FromManifestWorker } from "./manifest-worker.ts";
import { octetsToRead, readManifest, type ReadManifest } from "./read-manifest.ts";

/** More octets than this take longer to parse (1 ms each 8 KiB) than a request should wait. */
const octetsHere = 65_536;
/** The event loop gets its turn after this much looking and reading. */
const sliceMs = 5;

export interface ReadOptions {
  readonly paths: readonly string[];
  readonly stampOf: (path: string) => string | undefined;
  /** Called for each file that is not as its stamp says. */
  readonly take: (path: string, read: ReadManifest) => void;
  readonly signal: AbortSignal;
}

/** Rejects when the thread cannot be started, or ends early. */
export async function readManifests(options: ReadOptions): Promise<void> {
  const { paths, stampOf, take, signal } = options;
  const files: (readonly [string, string | undefined])[] = [];
  let octets = 0;
  await inSlices(paths, signal, (path) => {
    const lastStamp = stampOf(path);
    const size = octetsToRead(path, lastStamp);
    if (size === "known") return;
    files.push([path, lastStamp]);
    octets += size;
  });
  if (signal.aborted) return;
  if (octets > octetsHere) return await readInThread(files, take, signal);
  await inSlices(files, signal, ([path, lastStamp]) => take(path, readManifest(path, lastStamp)));
}

async function inSlices<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T) => void,
): Promise<void> {
  let sliceStart = performance.now();
  for (const item of items) {
    work(item);
    if (performance.now() - sliceStart < sliceMs) continue;
    await setImmediate();
    if (signal.aborted) return;
    sliceStart = performance.now();
  }
}

async function readInThread(
  files: FilesToRead,
  take: ReadOptions["take"],
  signal: AbortSignal,
): Promise<void> {
  const worker = new Worker(workerUrl, { workerData: files, name: "fairlead-manifests" });
  const stop = (): void => void worker.terminate();
  signal.addEventListener("abort", stop, { once: true });
  let pieces: ManifestObject[] = [];
  worker.on("message", (message: FromManifestWorker) => {
    if (signal.aborted) return;
    if (message.kind === "objects") {
      for (const object of message.objects) pieces.push(object);
      return;
    }
    for (const [path, read] of message.results) take(path, withObjects(read, pieces));
    pieces = [];
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.on("error", reject);
  worker.on("exit", (code) => {
    if (code === 0 || signal.aborted) resolve();
    else reject(new Error(`The thread that reads manifests ended with code ${code}`));
  });
  try {
    await promise;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const withObjects = (read: ReadManifest, objects: readonly ManifestObject[]): ReadManifest =>
  objects.length === 0 || read.kind !== "read" || read.manifest.kind !== "valid"
    ? read
    : { ...read, manifest: { ...read.manifest, objects } };

// In a bundle the thread's program is a file beside this one.
const workerUrl = import.meta.url.endsWith(".ts")
  ? new URL("./manifest-worker.ts", import.meta.url)
  : new URL("./manifest-worker.js", import.meta.url);
