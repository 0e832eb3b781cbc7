import { statSync } from "node:fs";
import { createServer } from "node:net";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import type { StatusReport } from "../../core/status.ts";
import { ip } from "../../test/support/builders.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { serveHealth } from "./health.ts";
import { serveStatus } from "./status.ts";

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

describe("serveHealth()", () => {
  test("answers probes and metrics", async () => {
    const port = await freePort();
    let reasons: string[] = ["no Node node-a", "not in sync"];
    await using _health = serveHealth({
      listen: { address: ip("127.0.0.1"), port },
      unready: () => reasons,
      metrics: async () => "fairlead_ready 0\n",
      log: silentLog,
    });
    const get = async (path: string): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      return [response.status, await response.text()];
    };
    await vi.waitFor(() => get("/healthz"), { timeout: 30_000, interval: 10 });
    expect(await get("/healthz")).toEqual([200, "ok\n"]);
    expect(await get("/readyz")).toEqual([503, "no Node node-a\nnot in sync\n"]);
    reasons = [];
    expect(await get("/readyz")).toEqual([200, "ready\n"]);
    expect(await get("/metrics")).toEqual([200, "fairlead_ready 0\n"]);
    expect((await get("/"))[0]).toBe(404);
  });

  test("does not listen any more when it is stopped before it did", async () => {
    const port = await freePort();
    const listen = { address: ip("127.0.0.1"), port };
    const health = serveHealth({
      listen,
      unready: () => [],
      metrics: async () => "",
      log: silentLog,
    });
    await health[Symbol.asyncDispose]();
    // Well after the look-up of the address, which is what it was stopped in.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow("fetch failed");
  });

  test("does not end the daemon when its port is taken", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_: object, message: string) => void warnings.push(message) };
    {
      await using _health = serveHealth({
        listen: { address: ip("127.0.0.1"), port },
        unready: () => [],
        metrics: async () => "",
        log,
      });
      await vi.waitFor(() => expect(warnings).toEqual(["cannot listen for probes"]), {
        timeout: 30_000,
      });
    }
    await new Promise((resolve) => taken.close(resolve));
  });
});

test("serveStatus() gives root one report per connection", async () => {
  const path = join(temporaryDirectory(), "run", "status.sock");
  let uptimeSeconds = 0;
  const report = () => ({ uptimeSeconds: ++uptimeSeconds }) as StatusReport;
  await using _status = await serveStatus(path, report, silentLog);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const read = (): Promise<string> => text(connect(path));
  expect(JSON.parse(await read())).toEqual({ uptimeSeconds: 1 });
  expect(JSON.parse(await read())).toEqual({ uptimeSeconds: 2 });
});
