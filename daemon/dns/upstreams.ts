// Which resolvers the node itself uses: where names outside the cluster are asked for.
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Ip, parseIp } from "../../core/address.ts";
import { ConfigError, toError } from "../../core/error.ts";
import { parseResolvConf } from "../../core/resolv-conf.ts";
import type { DnsServer, ForwardSettings, Upstream } from "../../dns/server.ts";
import { formatUpstream } from "../../dns/upstream/upstream-text.ts";
import type { Config } from "../config/config.ts";

export interface UpstreamInput {
  /** `dns.upstreams` */
  readonly configured: "auto" | readonly Upstream[];
  /** Addresses on which we answer ourselves: asking them would ask us again. */
  readonly own: readonly Ip[];
  /** The text of a file; undefined when there is none. */
  readonly readFile: (path: string) => string | undefined;
}

export interface Upstreams {
  readonly upstreams: readonly Upstream[];
  readonly warnings: readonly string[];
}

const resolvConfPath = "/etc/resolv.conf";
/** systemd-resolved's stub: the real ones are in its own file. */
const stub = "127.0.0.53";
const behindStubPath = "/run/systemd/resolve/resolv.conf";
/** As many as resolv.conf(5) takes. */
const mostAutomatic = 3;

export function findUpstreams({ configured, own, readFile }: UpstreamInput): Upstreams {
  const warnings: string[] = [];
  const isOther = (source: string) => (upstream: Upstream) => {
    if (upstream.port !== 53 || !own.includes(upstream.address)) return true;
    warnings.push(`Left out the upstream ${upstream.address} of ${source}: it is our own address`);
    return false;
  };
  if (configured !== "auto") {
    return { upstreams: configured.filter(isOther("dns.upstreams")), warnings };
  }
  const [path, nameservers] = automatic(readFile);
  const upstreams = nameservers
    .flatMap((text) => parseIp(text) ?? [])
    .slice(0, mostAutomatic)
    .map((address) => ({ address, port: 53 }))
    .filter(isOther(path));
  if (upstreams.length === 0) {
    warnings.push(`Found no upstream in ${path}: names outside the cluster are refused`);
  }
  return { upstreams, warnings };
}

function automatic(readFile: UpstreamInput["readFile"]): readonly [string, readonly string[]] {
  const nameserversIn = (path: string) => parseResolvConf(readFile(path) ?? "").nameservers ?? [];
  const usual = nameserversIn(resolvConfPath);
  if (!usual.includes(stub)) return [resolvConfPath, usual];
  const behind = nameserversIn(behindStubPath);
  return behind.length > 0 ? [behindStubPath, behind] : [resolvConfPath, usual];
}

/** Throws ConfigError for a file of authorities that cannot be used. */
export function forwardSettings({ mixCase, caPath }: Config["dns"]["forward"]): ForwardSettings {
  if (caPath === undefined) return { mixCase };
  try {
    const ca = readFileSync(caPath, "utf8");
    // OpenSSL takes what it can read of a list and says nothing of the rest: at least the first is one.
    void new X509Certificate(ca);
    return { mixCase, ca };
  } catch (thrown) {
    const problem = `Cannot use ${caPath}: ${toError(thrown).message}. Expected certificates in PEM`;
    throw new ConfigError("dns.forward.ca", problem, { cause: thrown });
  }
}

/** What status says of those of `used` that failed and have not answered since. */
export const silentUpstreams = (
  server: Pick<DnsServer, "upstreams">,
  used: readonly Upstream[],
): readonly string[] => {
  const texts = new Set(used.map(formatUpstream));
  return server
    .upstreams()
    .flatMap(({ upstream, problem }) =>
      problem !== undefined && texts.has(upstream) ? [problem] : [],
    );
};
