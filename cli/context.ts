import type { Environment } from "../core/cni/types.ts";

/** What a command may touch of the process that runs it. */
export interface CliContext {
  /** Results. */
  readonly stdout: (text: string) => void;
  /** Progress and errors. */
  readonly stderr: (text: string) => void;
  /** Width of the terminal; absent where results do not go to one. */
  readonly columns?: number;
  readonly environment: Environment;
  /** Becomes another program, looked for in the environment's PATH. Does not return. */
  readonly replaceProcess: (words: readonly string[], environment: Environment) => never;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** 0 fine, 1 failed, 2 wrong use. */
export const exitStatus = { fine: 0, failed: 1, wrongUse: 2 } as const;

/** A wrong argument that only the command itself can see. The message names it and what is accepted. */
export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UsageError";
  }
}

/** A command ran and found a bad answer, which it has printed; nothing more is to be said. */
export class SilentFailure extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.name = "SilentFailure";
    this.status = status;
  }
}
