// The network configuration list that makes the container runtime use fairlead. Its appearance is the
// sign that the node is ready, so it is written last.
import { ownIpamType } from "../../core/cni/config.ts";
import { readFileIfThere, replaceFile } from "../files/replace-file.ts";

/** In a file with this mark fairlead may do as it likes; without, the file is the operator's. */
const mark = { managedBy: "fairlead" } as const;

// Versions: containerd 1.6 and podman 4.3 know none above 1.0.0, newer ones choose from the list.
// Capabilities: those that the plugin takes, so that a runtime refuses a pod with others.
/** The file's text for a network of this name. */
export function formatConflist(network: string): string {
  const conflist = {
    cniVersion: "1.0.0",
    cniVersions: ["1.0.0", "1.1.0"],
    name: network,
    ...mark,
    plugins: [
      {
        type: "fairlead",
        capabilities: {
          portMappings: true,
          bandwidth: true,
          ips: true,
          ipRanges: true,
          mac: true,
          dns: true,
          aliases: true,
        },
        ipam: { type: ownIpamType },
      },
    ],
  };
  return `${JSON.stringify(conflist, null, 2)}\n`;
}

/**
 * `current`: it was right. `foreign`: another one's file is there, which is left alone. `broken`: what is
 * there is no JSON, so that no runtime can use it; it may be the work of an operator, and is left alone.
 */
export type ConflistOutcome = "current" | "written" | "foreign" | "broken";

/** @param wasOurs at the last look: then what is no JSON is a file of ours that somebody tore. */
export function ensureConflist(path: string, text: string, wasOurs = false): ConflistOutcome {
  const found = readFileIfThere(path);
  if (found === text) return "current";
  if (found !== undefined && !isOurs(found)) {
    if (isJson(found)) return "foreign";
    if (!wasOurs) return "broken";
  }
  replaceFile(path, text, 0o644);
  return "written";
}

/** Ours is written by rename: what is empty or cut short is what a power failure left of it. */
export const isOurs = (text: string): boolean =>
  text.trim() === "" || /"managedBy"\s*:\s*"fairlead"/.test(text);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
