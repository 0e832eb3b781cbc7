// The resolver's real worker, which stands still for as long as it is told.
import { createSocket } from "node:dgram";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ownAddress, testPort } from "./test-server.ts";

export interface HaltingWorker extends AsyncDisposable {
  readonly workerUrl: URL;
  /** From a moment after now on. */
  readonly halt: (ms: number) => void;
}

export async function haltingWorker(): Promise<HaltingWorker> {
  const directory = await mkdtemp(join(tmpdir(), "fairlead-dns-"));
  const worker = new URL("../../dns/worker.ts", import.meta.url).href;
  const [address, port] = [ownAddress(8), testPort + 1];
  const source = `
    import { createSocket } from "node:dgram";
    const still = new Int32Array(new SharedArrayBuffer(4));
    const halt = createSocket("udp4", (ms) => Atomics.wait(still, 0, 0, Number(String(ms))));
    halt.bind(${port}, "${address}");
    await import(${JSON.stringify(worker)});`;
  const file = join(directory, "halting.mjs");
  await writeFile(file, source);
  const socket = createSocket("udp4");
  return {
    workerUrl: pathToFileURL(file),
    halt: (ms) => socket.send(String(ms), port, address),
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await rm(directory, { recursive: true });
    },
  };
}
