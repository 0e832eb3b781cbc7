import { existsSync } from "node:fs";
import { toError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";

export interface KeptSocketOptions {
  readonly path: string;
  /** Listens at the path; disposed, no longer. */
  readonly serve: () => Promise<AsyncDisposable>;
  readonly log: Log;
  /** How often to look. */
  readonly everyMs?: number;
}

/** Serves at a path until disposed, and anew when somebody has removed the socket. */
export async function keepServing({
  path,
  serve,
  log,
  everyMs = 1_000,
}: KeptSocketOptions): Promise<AsyncDisposable> {
  let served: AsyncDisposable | undefined = await serve();
  let renewal: Promise<void> | undefined;

  const renew = async (): Promise<void> => {
    try {
      // First the old one: in closing it removes its path, whoever has it by then.
      await served?.[Symbol.asyncDispose]();
      served = undefined;
      served = await serve();
      log.warn({ path }, "the socket had been removed: made again");
    } catch (error) {
      log.error({ path, err: toError(error) }, "cannot make the socket again");
    } finally {
      renewal = undefined;
    }
  };

  const timer = setInterval(() => {
    if (renewal === undefined && !existsSync(path)) renewal = renew();
  }, everyMs);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await renewal;
      await served?.[Symbol.asyncDispose]();
    },
  };
}
