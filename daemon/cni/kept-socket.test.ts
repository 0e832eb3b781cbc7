import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { serveCni } from "./cni-server.ts";
import { keepServing } from "./kept-socket.ts";

const directory = (): string => {
  const path = mkdtempSync(join(tmpdir(), "fairlead-socket-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
};
const unused = () => Promise.reject(new Error("no request is expected"));
const handlers = { add: unused, del: unused, check: unused, gc: unused, status: unused };
const programs = { fairlead: handlers, "fairlead-ipam": handlers };

test("a socket that is removed, even with its directory, is served again", async () => {
  const run = join(directory(), "run");
  const path = join(run, "cni.sock");
  const serve = () => serveCni({ socketPath: path, handlers: programs, log: silentLog });
  {
    await using _kept = await keepServing({ path, serve, log: silentLog, everyMs: 5 });
    for (const removed of [path, run]) {
      rmSync(removed, { recursive: true });
      await vi.waitFor(() => expect(existsSync(path)).toBe(true), { timeout: 30_000 });
      const socket = createConnection({ path });
      socket.end("no request");
      expect(await text(socket)).toBe("");
    }
  }
  expect(existsSync(path)).toBe(false);
});

test("goes on trying when it cannot be served again", async () => {
  const path = join(directory(), "cni.sock");
  let calls = 0;
  const serve = async (): Promise<AsyncDisposable> => {
    calls++;
    if (calls === 2) throw new Error("not now");
    return await serveCni({ socketPath: path, handlers: programs, log: silentLog });
  };
  await using _kept = await keepServing({ path, serve, log: silentLog, everyMs: 5 });
  rmSync(path);
  await vi.waitFor(() => expect(existsSync(path)).toBe(true), { timeout: 30_000 });
  expect(calls).toBe(3);
});
