// HTTP for probes and for Prometheus: /healthz, /readyz, /metrics.
import type { ServerResponse } from "node:http";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { Listen } from "../config/config-schema.ts";

// Not imported: that reads every export, and some of them load Node's whole fetch, of 5 MiB.
const { createServer } = process.getBuiltinModule("node:http");

export interface HealthOptions {
  readonly listen: Listen;
  /** Empty when the node is ready for pods, else why not. */
  readonly unready: () => readonly string[];
  /** Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  readonly log: Log;
}

/** Serves until disposed. An address that is taken is logged, and tried again: the node works without. */
export function serveHealth(options: HealthOptions): AsyncDisposable {
  const { listen, log } = options;
  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000 },
    (request, response) => {
      respond(options, request.url ?? "", response).catch((error: unknown) => {
        log.warn({ problem: describeError(error) }, "cannot answer a probe");
        response.destroy();
      });
    },
  );
  let retry: NodeJS.Timeout | undefined;
  let isDisposed = false;
  const open = (): void => void server.listen(listen.port, listen.address);
  server.on("error", (error) => {
    log.warn({ ...listen, problem: describeError(error) }, "cannot listen for probes");
    if (!isDisposed) retry = setTimeout(open, retryMs);
  });
  // Told to stop before it listened: the server opens all the same, and would keep the process.
  server.on("listening", () => {
    if (isDisposed) server.close();
  });
  open();
  return {
    [Symbol.asyncDispose]: async () => {
      isDisposed = true;
      clearTimeout(retry);
      if (!server.listening) return;
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const retryMs = 10_000;

async function respond(
  { unready, metrics }: HealthOptions,
  url: string,
  response: ServerResponse,
): Promise<void> {
  const answer = (status: number, text: string, type = "text/plain"): void => {
    response.writeHead(status, { "content-type": `${type}; charset=utf-8` }).end(text);
  };
  switch (url) {
    case "/healthz":
      return answer(200, "ok\n");
    case "/readyz": {
      const reasons = unready();
      return reasons.length === 0 ? answer(200, "ready\n") : answer(503, `${reasons.join("\n")}\n`);
    }
    case "/metrics":
      return answer(200, await metrics(), "text/plain; version=0.0.4");
    default:
      return answer(404, "expected /healthz, /readyz or /metrics\n");
  }
}
