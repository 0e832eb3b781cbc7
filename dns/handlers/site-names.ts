// What a site adds to names, as its configuration says it in text: for the worker, in wire form.
import type { Ip } from "../../core/address.ts";
import { invariant } from "../../core/assert.ts";
import { type Name, parseName } from "../message/name.ts";
import type { HostEntry, Rewrite, Stub, Upstream, ZoneTtl } from "./settings.ts";

/** As in `fairlead.yaml`. Each name has been checked to be one. */
export interface SiteNamesText {
  /** By domain: who is asked for its names. */
  readonly stubs: Readonly<Record<string, readonly Upstream[]>>;
  /** By name. */
  readonly hosts: Readonly<Record<string, readonly Ip[]>>;
  /** From a name to another, or from `*.domain` to `*.domain`. */
  readonly rewrite: Readonly<Record<string, string>>;
  /** By domain, seconds. */
  readonly ttls: Readonly<Record<string, number>>;
}

export interface SiteNames {
  readonly stubs: readonly Stub[];
  readonly hosts: readonly HostEntry[];
  readonly rewrites: readonly Rewrite[];
  readonly ttls: readonly ZoneTtl[];
}

export const noSiteNames: SiteNames = { stubs: [], hosts: [], rewrites: [], ttls: [] };

export const siteNamesOf = ({ stubs, hosts, rewrite, ttls }: SiteNamesText): SiteNames => ({
  stubs: Object.entries(stubs).map(([domain, upstreams]) => ({
    domain: nameOf(domain),
    upstreams,
  })),
  hosts: Object.entries(hosts).map(([name, addresses]) => ({ name: nameOf(name), addresses })),
  rewrites: Object.entries(rewrite).map(([from, to]) => ({
    kind: from.startsWith(below) ? "below" : "name",
    from: nameOf(withoutStar(from)),
    to: nameOf(withoutStar(to)),
  })),
  ttls: Object.entries(ttls).map(([domain, seconds]) => ({ domain: nameOf(domain), seconds })),
});

const below = "*.";
const withoutStar = (text: string): string =>
  text.startsWith(below) ? text.slice(below.length) : text;

function nameOf(text: string): Name {
  const name = parseName(text);
  invariant(name !== undefined, `"${text}" was checked to be a name`);
  return name;
}
