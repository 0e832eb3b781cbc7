// Certificates of an authority that exists for one test.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificates {
  /** The authority's certificate. */
  readonly ca: string;
  /** A certificate for a name, and its key; `days` may be negative. */
  issue(name: string, options?: IssueOptions): { readonly cert: string; readonly key: string };
}

export interface IssueOptions {
  readonly days?: number;
  readonly subjectAltName?: string;
}

/** Makes PEM files in the directory. */
export function makeAuthority(directory: string): Certificates {
  const at = (name: string): string => join(directory, name);
  const [ca, caKey] = [at("ca.pem"), at("ca.key")];
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...newKey, "-keyout", caKey, "-out", ca, "-subj", "/CN=test authority");
  return {
    ca,
    issue: (name, { days = 2, subjectAltName = "IP:127.0.0.1" } = {}) => {
      const [cert, key, request, extensions] = ["pem", "key", "csr", "ext"].map((end) =>
        at(`${name}.${end}`),
      ) as [string, string, string, string];
      writeFileSync(extensions, `subjectAltName=${subjectAltName}\n`);
      openssl("req", ...newKey, "-keyout", key, "-out", request, "-subj", `/CN=${name}`);
      const signing = ["-CA", ca, "-CAkey", caKey, "-CAcreateserial", "-days", String(days)];
      const files = ["-in", request, "-out", cert, "-extfile", extensions];
      openssl("x509", "-req", ...signing, ...files);
      return { cert, key };
    },
  };
}

function openssl(...args: readonly string[]): void {
  const { status, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`);
}
