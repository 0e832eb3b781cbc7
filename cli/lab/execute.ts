import { execa, type Result } from "execa";

export interface ExecuteOptions {
  readonly signal: AbortSignal;
  /** Standard input; none is an empty one. */
  readonly input?: string;
  readonly timeoutMs?: number;
}

const shownLength = 100;

/** Runs a command; resolves with its output, throws what it said when it fails. */
export async function execute(
  words: readonly [string, ...string[]],
  { signal, input = "", timeoutMs = 30_000 }: ExecuteOptions,
): Promise<string> {
  const [file, ...args] = words;
  const result = await execa(file, args, {
    cancelSignal: signal,
    input,
    timeout: timeoutMs,
    reject: false,
  });
  signal.throwIfAborted();
  if (result.failed) throw commandFailure(words, result);
  return result.stdout;
}

/** In one line: what ran, how it ended, what it said. */
function commandFailure(
  words: readonly string[],
  result: Pick<Result, "timedOut" | "exitCode" | "signal" | "originalMessage"> & {
    readonly stdout: string;
    readonly stderr: string;
  },
): Error {
  const line = words.join(" ").replaceAll(/\s+/g, " ").trim();
  const shown = line.length > shownLength ? `${line.slice(0, shownLength)}…` : line;
  const end = result.timedOut
    ? "took too long"
    : result.signal === undefined
      ? `exit status ${result.exitCode ?? "none"}`
      : `ended by ${result.signal}`;
  const said = [result.stderr, result.stdout, result.originalMessage ?? ""].find(Boolean);
  return new Error(`Command "${shown}" failed, ${end}${said === undefined ? "" : `: ${said}`}`);
}
