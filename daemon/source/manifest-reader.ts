// Files read and parsed: few and small ones here, more than that in a process of their own, so that
// requests and probes are answered meanwhile.
import { fork } from "node:child_process";
import { setImmediate } from "node:timers/promises";
import type { ManifestObject } from "./manifest.ts";
import type { FilesToRead, FromManifestProcess } from "./manifest-process.ts";
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

/** Rejects when that process cannot be started, or ends early. */
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
  if (octets > octetsHere) return await readInProcess(files, take, signal);
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

async function readInProcess(
  files: FilesToRead,
  take: ReadOptions["take"],
  signal: AbortSignal,
): Promise<void> {
  const child = fork(program, {
    serialization: "advanced",
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    signal,
    killSignal: "SIGKILL",
  });
  let pieces: ManifestObject[] = [];
  let isComplete = false;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.on("message", (message: FromManifestProcess) => {
    if (signal.aborted) return;
    if (message.kind === "end") isComplete = true;
    else if (message.kind === "objects") for (const object of message.objects) pieces.push(object);
    else {
      for (const [path, read] of message.results) take(path, withObjects(read, pieces));
      pieces = [];
    }
  });
  child.on("error", (error) => (signal.aborted ? resolve() : reject(error)));
  // After the last message, unlike its exit.
  child.on("disconnect", () => {
    if (isComplete || signal.aborted) resolve();
    else reject(new Error("The process that reads manifests ended early"));
  });
  child.send(files, (error) => error !== null && !signal.aborted && reject(error));
  await promise;
}

const withObjects = (read: ReadManifest, objects: readonly ManifestObject[]): ReadManifest =>
  objects.length === 0 || read.kind !== "read" || read.manifest.kind !== "valid"
    ? read
    : { ...read, manifest: { ...read.manifest, objects } };

// In a bundle its program is a file beside this one.
const program = import.meta.url.endsWith(".ts")
  ? new URL("./manifest-process.ts", import.meta.url)
  : new URL("./manifest-process.js", import.meta.url);
