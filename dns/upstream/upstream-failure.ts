import type { Upstream } from "../handlers/settings.ts";
import { formatUpstream } from "./upstream-text.ts";

/** An upstream could not be asked, or did not answer. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
  /** Without the upstream's name. */
  readonly problem: string;

  constructor(upstream: Upstream, problem: string, cause?: Error) {
    const message = `Cannot ask upstream ${formatUpstream(upstream)}: ${problem}`;
    super(message, { ...(cause && { cause }) });
    this.problem = problem;
  }
}

/** What the network or TLS says, and what can be done about it. */
export function failureOf(upstream: Upstream, cause: Error): UpstreamError {
  const problem = explain(upstream, cause);
  // A log line has the causes' messages behind it: not the same one again.
  const isSaid = problem.includes(cause.message.trim());
  return new UpstreamError(upstream, problem, isSaid ? undefined : cause);
}

function explain({ address, tls }: Upstream, cause: Error): string {
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
  if (tls === undefined) return cause.message;
  switch (code) {
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return (
        `its certificate is not for ${tls.serverName ?? `the address ${address}`}: ` +
        `${namesOf(cause)}. Expected tls://${address}#NAME with a name that it has`
      );
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
      return `no authority that is trusted signed its certificate (${code}): name the authority's file in dns.forward.ca`;
    case "CERT_HAS_EXPIRED":
      return "its certificate has run out, or this node's clock is wrong (CERT_HAS_EXPIRED)";
    case "CERT_NOT_YET_VALID":
      return "its certificate is not valid yet, or this node's clock is wrong (CERT_NOT_YET_VALID)";
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return `it does not speak TLS at this port (${cause.message.trim()})`;
    default:
      return cause.message;
  }
}

// Node's message ends in what the certificate has: "… is not in the cert's altnames: DNS:a, DNS:b".
function namesOf(cause: Error): string {
  const names = /.*altnames: (.+)$/.exec(cause.message)?.[1];
  return names === undefined ? "it has no name of a server" : `it is for ${names}`;
}
