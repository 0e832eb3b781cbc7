// What goes with a request: a token, and what TLS needs. Read again for each request, so that rotated
// files are taken over; what an exec plugin gave is kept until shortly before it ends.
import { readFileSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import type { ApiAccess, Material } from "./access.ts";
import { type ExecCredential, runExecPlugin } from "./exec-credential.ts";

export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Credentials {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsMaterial;
}

/** A credential that ends within this time is not used any more: clocks differ. */
const leewayMs = 10_000;

export class CredentialStore implements Disposable {
  readonly #clock: Clock;
  readonly #disposal = new AbortController();
  #known: ExecCredential | undefined;
  /** All that ask at the same time wait for one run of the plugin. */
  #running: Promise<ExecCredential> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Rejects with what cannot be read or run, naming the file or the program. */
  async current(access: ApiAccess): Promise<Credentials> {
    const { ca, token, certificate } = access;
    const given = await this.#ask(access);
    const bearer = given.token ?? (token && read(token, "token").trim());
    const cert = given.certificate?.cert ?? (certificate && read(certificate.cert, "certificate"));
    const key = given.certificate?.key ?? (certificate && read(certificate.key, "key"));
    const authority = ca && read(ca, "certificate authority");
    return {
      headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
      tls: {
        ...(authority !== undefined && { ca: authority }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
      },
    };
  }

  /** The API has refused them: a plugin is asked again. */
  refused(): void {
    this.#known = undefined;
  }

  [Symbol.dispose](): void {
    this.#disposal.abort();
  }

  async #ask({ exec, server, serverName, isInsecure }: ApiAccess): Promise<ExecCredential> {
    if (exec === undefined) return {};
    if (this.#known !== undefined && this.#isFresh(this.#known)) return this.#known;
    const info = {
      server,
      ...(serverName !== undefined && { "tls-server-name": serverName }),
      "insecure-skip-tls-verify": isInsecure,
    };
    this.#running ??= runExecPlugin(exec, info, this.#disposal.signal).finally(() => {
      this.#running = undefined;
    });
    this.#known = await this.#running;
    return this.#known;
  }

  #isFresh({ expiresAtMs = Infinity }: ExecCredential): boolean {
    return expiresAtMs - leewayMs > this.#clock.nowMs();
  }
}

function read(material: Material, what: string): string {
  if (material.kind === "text") return material.text;
  try {
    return readFileSync(material.path, "utf8");
  } catch (cause) {
    throw new Error(`Cannot read the ${what} ${material.path}`, { cause });
  }
}
