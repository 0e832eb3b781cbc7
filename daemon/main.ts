// The node's daemon as a process would run it: configuration, log, lock, kernel, then the parts until
// told to stop.
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type Logger, pino } from "pino";
import { hasErrno } from "../core/error.ts";
import { paths } from "../core/paths.ts";
import { version } from "../core/version.ts";
import { systemClock } from "../kernel/clock.ts";
import { openLock } from "../kernel/flock.ts";
import type { FileLock } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/linux.ts";
import type { Config } from "./config.ts";
import { startDaemon } from "./daemon.ts";
import { optimiseEarly } from "./engine.ts";
import { LiveConfig } from "./live-config.ts";

export interface DaemonOptions {
  /** Absent: the usual place, where a file that is missing means the defaults. */
  readonly configPath?: string;
  /** Aborted: the daemon stops, and leaves the data path as it is. */
  readonly signal: AbortSignal;
}

/**
 * Runs the daemon until the signal is aborted. Throws ConfigError when the configuration is wrong, and
 * an error that says so when another daemon runs on this node. Logs JSON lines to standard error.
 */
export async function runDaemon({ configPath, signal }: DaemonOptions): Promise<void> {
  optimiseEarly();
  using live = new LiveConfig({ path: configPath, where: configPath ?? paths.config });
  // From the start on: without a listener the signal ends the process.
  using _reloading = reloadAtHangUp(live);
  const config = live.current;
  const log = openLog(config);
  live.subscribe(({ log: { level } }) => {
    log.level = level;
  });
  try {
    using _lock = await lockNode(signal);
    using kernel = openKernel();
    log.info({ version, network: config.network.name }, "the daemon starts");
    await using _daemon = await startDaemon(
      { live, paths, kernel, clock: systemClock, log },
      signal,
    );
    live.follow(log);
    log.info({ uptimeMs: Math.round(performance.now()) }, "the daemon serves");
    if (!signal.aborted) await once(signal, "abort");
    log.info({}, "the daemon stops");
  } catch (error) {
    // Told to stop while it was starting: that is no failure.
    if (!signal.aborted) throw error;
  }
}

function reloadAtHangUp(live: LiveConfig): Disposable {
  const reload = (): void => live.reload();
  process.on("SIGHUP", reload);
  return { [Symbol.dispose]: () => void process.off("SIGHUP", reload) };
}

// A daemon that was killed while it started a program leaves its lock with that child, until exec.
const lockDeadlineMs = 2_000;

async function lockNode(signal: AbortSignal): Promise<FileLock> {
  mkdirSync(dirname(paths.daemonLock), { recursive: true, mode: 0o755 });
  const wait = { deadlineMs: lockDeadlineMs, clock: systemClock, signal };
  try {
    return await openLock(paths.daemonLock, "exclusive", wait);
  } catch (cause) {
    if (!hasErrno(cause, "ETIMEDOUT")) throw cause;
    throw new Error(
      `Cannot start: another fairlead daemon runs on this node, it holds ${paths.daemonLock}`,
      { cause },
    );
  }
}

const openLog = ({ log, nodeName }: Config): Logger =>
  pino(
    { level: log.level, base: { node: nodeName }, timestamp: pino.stdTimeFunctions.isoTime },
    // Written at once: what a daemon says last, before it dies, is what one wants to read.
    pino.destination({ dest: 2, sync: true }),
  );
