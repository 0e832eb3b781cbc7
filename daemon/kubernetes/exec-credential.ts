// Runs a kubeconfig's exec plugin: a program that prints an ExecCredential
// (client.authentication.k8s.io/v1, "client-go credential plugins").
import { execFile } from "node:child_process";
import * as v from "valibot";
import { describeError, hasErrno } from "../../core/error.ts";
import type { ExecPlugin } from "./access.ts";

export interface ExecCredential {
  readonly token?: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Wall clock, milliseconds since 1970; absent: until the API refuses it. */
  readonly expiresAtMs?: number;
}

const credentialSchema = v.object({
  kind: v.literal("ExecCredential"),
  status: v.object({
    token: v.exactOptional(v.string()),
    clientCertificateData: v.exactOptional(v.string()),
    clientKeyData: v.exactOptional(v.string()),
    expirationTimestamp: v.exactOptional(v.string()),
  }),
});

const timeoutMs = 30_000;
const outputMax = 1 << 20;

/** Rejects with a message that names the command, what it said, and the hint of the kubeconfig. */
export async function runExecPlugin(
  plugin: ExecPlugin,
  clusterInfo: object,
  signal: AbortSignal,
): Promise<ExecCredential> {
  const { apiVersion, command, args, provideClusterInfo, installHint } = plugin;
  const info = JSON.stringify({
    apiVersion,
    kind: "ExecCredential",
    spec: { interactive: false, ...(provideClusterInfo && { cluster: clusterInfo }) },
  });
  const env = { ...process.env, ...plugin.env, KUBERNETES_EXEC_INFO: info };
  const output = await new Promise<string>((resolve, reject) => {
    const options = { env, signal, timeout: timeoutMs, maxBuffer: outputMax };
    const child = execFile(command, [...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const hint =
        hasErrno(error, "ENOENT") && installHint !== undefined ? ` (${installHint})` : "";
      const said = stderr.trim().split("\n").at(-1)?.slice(0, 200) ?? "";
      const why = said === "" ? describeError(error) : said;
      reject(new Error(`Cannot run the credential plugin ${command}: ${why}${hint}`));
    });
    child.stdin?.end();
  });
  return readCredential(output, command);
}

function readCredential(output: string, command: string): ExecCredential {
  let json: unknown;
  try {
    json = JSON.parse(output);
  } catch {
    throw new Error(`Cannot use what ${command} printed: expected an ExecCredential in JSON`);
  }
  const parsed = v.safeParse(credentialSchema, json);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    throw new Error(
      `Cannot use what ${command} printed: ${v.getDotPath(issue) ?? "it"} is not as an ExecCredential has it`,
    );
  }
  const { token, clientCertificateData: cert, clientKeyData: key } = parsed.output.status;
  const expiresAtMs = Date.parse(parsed.output.status.expirationTimestamp ?? "");
  if (token === undefined && (cert === undefined || key === undefined)) {
    throw new Error(
      `Cannot use what ${command} printed: expected a token or a certificate with its key`,
    );
  }
  return {
    ...(token !== undefined && { token }),
    ...(cert !== undefined && key !== undefined && { certificate: { cert, key } }),
    ...(!Number.isNaN(expiresAtMs) && { expiresAtMs }),
  };
}
