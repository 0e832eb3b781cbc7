import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { describeError } from "../../core/error.ts";
import type { EtcdSettings } from "./client.ts";

/**
 * What is wrong with the certificates that we have, which a server only answers with an alert. Undefined:
 * nothing that can be seen here.
 */
export function certificateProblem(
  { ca, cert }: Pick<EtcdSettings, "ca" | "cert">,
  nowMs: number,
): string | undefined {
  for (const path of [cert, ca]) {
    const problem = path === undefined ? undefined : problemOf(path, nowMs);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function problemOf(path: string, nowMs: number): string | undefined {
  try {
    const { validFromDate, validToDate } = new X509Certificate(readFileSync(path));
    if (nowMs > validToDate.getTime()) {
      return `the certificate ${path} expired at ${validToDate.toISOString()}`;
    }
    if (nowMs < validFromDate.getTime()) {
      return `the certificate ${path} is valid from ${validFromDate.toISOString()}: is this machine's clock right`;
    }
    return undefined;
  } catch (error) {
    return `cannot use the certificate ${path}: ${describeError(error)}`;
  }
}
