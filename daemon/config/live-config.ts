// The configuration while the daemon runs: read again when the file changes. Some keys take effect at
// once, the others at the next start, and a broken file changes nothing; status says which.
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describeError } from "../../core/error.ts";
import type { Log } from "../../core/log.ts";
import type { StatusProblem } from "../../core/status.ts";
import { DirectoryWatch, type WatchTiming } from "../files/watch.ts";
import type { ConfigFile } from "./config-schema.ts";
import { type Config, configDefaults, configOf, loadConfigFile } from "./config.ts";

/** The keys that take effect at once, each with what takes it over. The only list of them. */
const live: readonly (readonly [string, (now: ConfigFile, next: ConfigFile) => ConfigFile])[] = [
  [
    "network.masquerade",
    (now, { network: { masquerade } }) => ({ ...now, network: { ...now.network, masquerade } }),
  ],
  ["dns.upstreams", (now, { dns: { upstreams } }) => ({ ...now, dns: { ...now.dns, upstreams } })],
  ["log.level", (now, { log: { level } }) => ({ ...now, log: { ...now.log, level } })],
];

export const liveKeys = live.map(([key]) => key);

export interface LiveConfigOptions {
  /** Absent: the usual place, where no file means the defaults. */
  readonly path: string | undefined;
  /** Where that is. */
  readonly where: string;
  readonly timing?: WatchTiming;
}

const usualTiming: WatchTiming = { quietMs: 50, atMostMs: 500, everyMs: 10_000 };

export class LiveConfig implements Disposable {
  readonly #options: LiveConfigOptions;
  readonly #defaults = configDefaults();
  readonly #watch: DirectoryWatch;
  readonly #followers: ((config: Config) => void)[] = [];
  #file: ConfigFile;
  #current: Config;
  #problems: readonly string[] = [];
  #log: Log | undefined;

  /** Throws ConfigError naming everything that is wrong. */
  constructor(options: LiveConfigOptions) {
    this.#options = options;
    this.#file = loadConfigFile(options.path);
    this.#current = configOf(this.#file, this.#defaults);
    this.#watch = new DirectoryWatch(() => this.reload(), options.timing ?? usualTiming);
  }

  /** What is in force. */
  get current(): Config {
    return this.#current;
  }

  get problems(): readonly StatusProblem[] {
    return this.#problems.map((message) => ({ area: "config", message }));
  }

  /** Begins to look for changes, also for those since the start. */
  follow(log: Log): void {
    this.#log = log;
    this.reload();
  }

  /** Called after each change that takes effect. */
  subscribe(follower: (config: Config) => void): void {
    this.#followers.push(follower);
  }

  reload(): void {
    const before = this.#problems;
    try {
      this.#take(loadConfigFile(this.#options.path));
    } catch (error) {
      this.#problems = [`${describeError(error)} (the configuration before stays in force)`];
    }
    if (!isDeepStrictEqual(before, this.#problems)) {
      const problems = this.#problems;
      if (problems.length > 0)
        this.#log?.warn({ problems }, "the configuration is not all in force");
      else this.#log?.info({}, "the configuration is in force again");
    }
    this.#watch.follow(new Set([dirname(this.#options.where)]));
    this.#watch.expect();
  }

  #take(next: ConfigFile): void {
    const keys = differences(this.#file, next);
    const isLive = (key: string): boolean =>
      liveKeys.some((one) => key === one || key.startsWith(`${one}.`));
    const late = keys.filter((key) => !isLive(key));
    this.#problems = late.map(
      (key) => `The change of ${key} in ${this.#options.where} takes effect at the next start`,
    );
    if (late.length === keys.length) return;
    this.#file = live.reduce((file, [, takeOver]) => takeOver(file, next), this.#file);
    this.#current = configOf(this.#file, this.#defaults);
    this.#log?.info({ keys: keys.filter(isLive) }, "the configuration changed");
    for (const follower of this.#followers) follower(this.#current);
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }
}

/** The keys, with dots, whose values are others. */
function differences(a: object, b: object, prefix = ""): readonly string[] {
  const [before, after] = [new Map(Object.entries(a)), new Map(Object.entries(b))];
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((key) => {
    const [old, now]: readonly unknown[] = [before.get(key), after.get(key)];
    if (isDeepStrictEqual(old, now)) return [];
    return isMapping(old) && isMapping(now)
      ? differences(old, now, `${prefix}${key}.`)
      : [`${prefix}${key}`];
  });
}

/** Not a list, nor an address with its port, which the file has as one value. */
const isMapping = (value: unknown): value is object =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !("port" in value && "address" in value);
