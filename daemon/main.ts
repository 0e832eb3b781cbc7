// The node's daemon as a process would run it: configuration, log, lock, kernel, then the parts until
// told to stop.
import { once } from "node:events";
import { type Logger, pino } from "pino";
import { paths } from "../core/paths.ts";
import { version } from "../core/version.ts";
import { systemClock } from "../kernel/clock.ts";
import { trimMalloc } from "../kernel/ffi.ts";
import { openKernel } from "../kernel/linux.ts";
import { giveBackProcessAtRest } from "../kernel/memory-at-rest.ts";
import type { Config } from "./config/config.ts";
import { LiveConfig } from "./config/live-config.ts";
import { startDaemon } from "./daemon.ts";
import { storedDescriptors } from "./dns/descriptor-store.ts";
import { askForSockets } from "./dns/hand-over.ts";
import { optimiseEarly } from "./engine.ts";
import { NodeLock } from "./node-lock.ts";

export interface DaemonOptions {
  /** Absent: the usual place, where a file that is missing means the defaults. */
  readonly configPath?: string;
  /** Takes the place of a daemon that runs: names are answered all the time. */
  readonly replaces?: boolean;
  /** Aborted: the daemon stops, and leaves the data path as it is. */
  readonly signal: AbortSignal;
}

/**
 * Runs the daemon until the signal is aborted. Throws ConfigError when the configuration is wrong, and
 * an error that says so when another daemon runs on this node. Logs JSON lines to standard error.
 */
export async function runDaemon({
  configPath,
  replaces = false,
  signal: stop,
}: DaemonOptions): Promise<void> {
  optimiseEarly();
  using live = new LiveConfig({ path: configPath, where: configPath ?? paths.config });
  // From the start on: without a listener the signal ends the process.
  using _reloading = reloadAtHangUp(live);
  const config = live.current;
  const log = openLog(config);
  live.subscribe(({ log: { level } }) => {
    log.level = level;
  });
  const successor = new AbortController();
  const signal = AbortSignal.any([stop, successor.signal]);
  try {
    using predecessor = replaces ? askForSockets(paths.handOverSocket) : undefined;
    const locking = { path: paths.daemonLock, predecessor, clock: systemClock };
    using lock = await NodeLock.open(locking, signal);
    using kernel = openKernel();
    log.info({ version, network: config.network.name }, "the daemon starts");
    await using _daemon = await startDaemon(
      {
        live,
        paths,
        kernel,
        clock: systemClock,
        log,
        sockets: {
          given: predecessor?.fds ?? storedDescriptors(process.env, process.pid),
          isReplacing: predecessor !== undefined,
          becomeOnly: () => lock.waitForPredecessor(signal),
          alone: lock.taken,
          leave: () => successor.abort(),
        },
      },
      signal,
    );
    using _memory = giveBackProcessAtRest(trimMalloc);
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

const openLog = ({ log, nodeName }: Config): Logger =>
  pino(
    { level: log.level, base: { node: nodeName }, timestamp: pino.stdTimeFunctions.isoTime },
    // Written at once: what a daemon says last, before it dies, is what one wants to read.
    pino.destination({ dest: 2, sync: true }),
  );
