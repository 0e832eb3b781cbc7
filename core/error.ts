/** Whatever was thrown, as an Error: `cause` chains and log fields want one. */
export const toError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown));

/** Deeper causes say nothing that helps. */
const depthLimit = 8;

/**
 * A message with the messages of its causes, outermost first, for one log line or CNI `details`. Of what
 * failed and then failed again while it was tidied up (SuppressedError) both, in this order.
 */
export const describeError = (thrown: unknown): string => describeWithin(thrown, depthLimit);

function describeWithin(thrown: unknown, depth: number): string {
  const parts: string[] = [];
  let current: unknown = thrown;
  while (current !== undefined && current !== null && parts.length < depth) {
    if (current instanceof SuppressedError && depth > 1) {
      const { suppressed, error: later } = current;
      const both = [suppressed, later].map((one) => describeWithin(one, depth - 1));
      parts.push([...new Set(both)].join("; then, tidying up: "));
      break;
    }
    const error = toError(current);
    const message = withoutCode(error.message, parts.at(-1));
    if (!parts.includes(message)) parts.push(message);
    current = error.cause;
  }
  return parts.join(": ");
}

/** Node's messages begin with the code that ours, which say what failed, end with. */
function withoutCode(message: string, outer = ""): string {
  const code = /^([A-Z][A-Z0-9]+): /.exec(message)?.[1];
  return code !== undefined && outer.endsWith(`: ${code}`)
    ? message.slice(code.length + 2)
    : message;
}

/**
 * The operator's configuration or a manifest is wrong. `where` is the file, with a line or key where
 * one is known; the message names the value and what is accepted.
 */
export class ConfigError extends Error {
  readonly where: string;

  constructor(where: string, problem: string, options?: ErrorOptions) {
    super(`${where}: ${problem}`, options);
    this.name = "ConfigError";
    this.where = where;
  }
}

/**
 * The kernel refused an operation. `errno` is the symbolic name ("EEXIST"), `kernelMessage` the
 * kernel's own text (netlink extended ACK) where it gave one.
 */
export class KernelError extends Error {
  readonly operation: string;
  readonly errno: string;
  readonly kernelMessage: string;

  constructor(operation: string, errno: string, kernelMessage = "", options?: ErrorOptions) {
    super(
      `Cannot ${operation}: ${errno}${kernelMessage === "" ? "" : ` (${kernelMessage})`}`,
      options,
    );
    this.name = "KernelError";
    this.operation = operation;
    this.errno = errno;
    this.kernelMessage = kernelMessage;
  }
}

/** True for a KernelError, or a Node system error, with one of these codes. */
export const hasErrno = (thrown: unknown, ...errnos: readonly string[]): boolean =>
  (thrown instanceof KernelError && errnos.includes(thrown.errno)) ||
  (thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "string" &&
    errnos.includes(thrown.code));
