/**
 * Error codes of the CNI specification 1.1.0 ("Error"), and of the reference library where the
 * specification is silent (invalidNetns). 100 and above are ours.
 */
export const CniCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  /** No address left in a range. */
  addressesExhausted: 100,
  /** The interface name is taken in the sandbox by something that is not this attachment. */
  interfaceTaken: 101,
  /** CHECK found the attachment other than ADD left it. */
  checkFailed: 102,
  /** Another attachment of the node has the host port. */
  hostPortTaken: 103,
  /** A failure of fairlead or of the kernel that no other code fits. */
  internal: 110,
} as const;

export type CniCode = (typeof CniCode)[keyof typeof CniCode];

/** A failure that reaches the runtime as CNI's error object: `code`, `msg`, `details`. */
export class CniError extends Error {
  /** A CniCode, or the code of a delegated plugin as it gave it. */
  readonly code: number;
  readonly details: string;

  constructor(
    code: number,
    message: string,
    { details = "", ...options }: ErrorOptions & { readonly details?: string } = {},
  ) {
    super(message, options);
    this.name = "CniError";
    this.code = code;
    this.details = details;
  }
}
