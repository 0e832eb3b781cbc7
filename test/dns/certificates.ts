// Certificates for a test: an authority, and what it signs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Certificate } from "./stream-upstream.ts";

export interface Authority extends Disposable {
  /** The file of its certificate, PEM. */
  readonly path: string;
  readonly pem: string;
  /** `names`: as in subjectAltName, `DNS:dns.example`, `IP:127.0.0.1`. */
  sign(names: string, validity?: "valid" | "past"): Certificate;
}

const openssl = (...args: readonly string[]): void =>
  void execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export function createAuthority(): Authority {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-ca-"));
  const at = (file: string): string => join(directory, file);
  const subject = ["-subj", "/CN=fairlead test authority"];
  const ca = ["-keyout", at("ca.key"), "-out", at("ca.pem"), "-days", "2"];
  openssl("req", "-x509", ...newKey, ...subject, ...ca);
  let count = 0;
  return {
    path: at("ca.pem"),
    pem: readFileSync(at("ca.pem"), "utf8"),
    sign(names, validity = "valid") {
      const name = `server-${count++}`;
      const files = ["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`)];
      openssl("req", ...newKey, "-subj", "/CN=server", ...files);
      writeFileSync(at(`${name}.ext`), `subjectAltName=${names}\n`);
      const request = ["-req", "-in", at(`${name}.csr`), "-out", at(`${name}.pem`)];
      const signer = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"];
      const days = ["-days", validity === "valid" ? "2" : "-1"];
      openssl("x509", ...request, ...signer, "-extfile", at(`${name}.ext`), ...days);
      const read = (suffix: string): string => readFileSync(at(`${name}.${suffix}`), "utf8");
      return { key: read("key"), cert: read("pem") };
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}
