// The resolver's real worker, which stands still while it is told to.
import { createSocket } from "node:dgram";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { until } from "./forwarder.ts";
import { ownAddress, testPort } from "./test-server.ts";

export interface HaltingWorker extends AsyncDisposable {
  readonly workerUrl: URL;
  /** Stands still when this resolves, until what it gives is disposed. */
  readonly halt: () => Promise<Disposable>;
}

export async function haltingWorker(): Promise<HaltingWorker> {
  const directory = await mkdtemp(join(tmpdir(), "fairlead-dns-"));
  const worker = new URL("../../dns/worker.ts", import.meta.url).href;
  const [address, port] = [ownAddress(8), testPort + 1];
  // A thread that stands still takes no messages: files tell each side of the other.
  const [wanted, halted] = [join(directory, "wanted"), join(directory, "halted")];
  const source = `
    import { createSocket } from "node:dgram";
    import { existsSync, writeFileSync } from "node:fs";
    const still = new Int32Array(new SharedArrayBuffer(4));
    const halt = createSocket("udp4", () => {
      writeFileSync(${JSON.stringify(halted)}, "");
      while (existsSync(${JSON.stringify(wanted)})) Atomics.wait(still, 0, 0, 5);
    });
    halt.bind(${port}, "${address}");
    await import(${JSON.stringify(worker)});`;
  const file = join(directory, "halting.mjs");
  await writeFile(file, source);
  const socket = createSocket("udp4");
  return {
    workerUrl: pathToFileURL(file),
    halt: async () => {
      writeFileSync(wanted, "");
      socket.send("halt", port, address);
      await until(() => existsSync(halted), "the worker stands still");
      return {
        [Symbol.dispose]: () => {
          rmSync(halted);
          rmSync(wanted);
        },
      };
    },
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await rm(directory, { recursive: true });
    },
  };
}
