// A node's configuration is the same for pod after pod: read once, kept by its text. What else its meaning
// depends on is asked again each time. What a runtime puts into it for a pod (ports, limits) makes a text of
// that pod's own: those are forgotten first, not the one that comes again and again.
import { type ConfContext, type ConfHeader, parseConfHeader, parseNetConf } from "./config.ts";
import { member } from "./json.ts";
import type { NetConf } from "./types.ts";

/** A node has one configuration or a few, each in a form per verb; a namespace has a resolver's search list. */
const mostTexts = 64;
const longestText = 16_384;
/** Of one text: verbs, and what different pods ask for in CNI_ARGS. */
const mostReadings = 8;

interface Reading {
  readonly context: Omit<ConfContext, "args">;
  /** What was asked of CNI_ARGS, and the answers. */
  readonly asked: ReadonlyMap<string, string | undefined>;
  readonly conf: NetConf;
}

const headers = new Map<string, ConfHeader>();
const readings = new WeakMap<ConfHeader, Reading[]>();

/** As {@link parseConfHeader}. */
export function knownConfHeader(raw: string): ConfHeader {
  const known = headers.get(raw);
  if (known !== undefined) {
    headers.delete(raw);
    headers.set(raw, known);
    return known;
  }
  const header = parseConfHeader(raw);
  // With a result in it the text is one pod's alone.
  if (raw.length > longestText || member(header.json, "prevResult") !== undefined) return header;
  const [oldest] = headers.keys();
  if (headers.size >= mostTexts && oldest !== undefined) headers.delete(oldest);
  headers.set(raw, header);
  readings.set(header, []);
  return header;
}

/** As {@link parseNetConf}. */
export function knownNetConf(header: ConfHeader, context: ConfContext): NetConf {
  const known = readings.get(header);
  const same = known?.find((reading) => isOf(reading, context));
  if (same !== undefined) return same.conf;
  const { args, ...rest } = context;
  const asked = new Map<string, string | undefined>();
  const get = (name: string): string | undefined => {
    const value = args.get(name);
    asked.set(name, value);
    return value;
  };
  const conf = parseNetConf(header, { ...rest, args: { get } });
  if (known !== undefined) {
    if (known.length >= mostReadings) known.shift();
    known.push({ context: rest, asked, conf });
  }
  return conf;
}

function isOf({ context, asked }: Reading, { command, cniVersion, isIpam, args }: ConfContext) {
  if (context.command !== command || context.cniVersion !== cniVersion) return false;
  if (context.isIpam !== isIpam) return false;
  for (const [name, value] of asked) if (args.get(name) !== value) return false;
  return true;
}
