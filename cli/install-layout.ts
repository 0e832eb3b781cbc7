// Where an installation puts things. Paths are those of the installed system; `root` goes in front
// of each when the files are laid out somewhere else (a package, an image).
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import * as v from "valibot";
import { hasErrno } from "../core/error.ts";
import { installDefaults, type InstallOptions } from "./install-options.ts";

export interface InstallLayout {
  readonly root: string;
  /** Holds a directory for each version, and the link `current`. */
  readonly homes: string;
  /** What launcher, command and unit name: it stays when the version changes. */
  readonly current: string;
  readonly launchers: readonly [string, string];
  readonly command: string;
  readonly unit: string;
  readonly config: string;
  readonly cluster: string;
  readonly cniConf: string;
}

export function installLayout(options: InstallOptions): InstallLayout {
  const homes = resolve("/", options.home ?? installDefaults.home);
  const cniBin = resolve("/", options.cniBin ?? installDefaults.cniBin);
  return {
    root: resolve(options.root ?? installDefaults.root),
    homes,
    current: join(homes, "current"),
    launchers: [join(cniBin, "fairlead"), join(cniBin, "fairlead-ipam")],
    command: "/usr/bin/fairlead",
    unit: "/usr/lib/systemd/system/fairlead.service",
    config: "/etc/fairlead/fairlead.yaml",
    cluster: "/etc/fairlead/cluster.d",
    cniConf: resolve("/", options.cniConf ?? installDefaults.cniConf),
  };
}

/** In the home: what `uninstall` needs to know of how it was installed. */
export const recordName = "installed.json";

const recordSchema = v.object({ cniBin: v.string(), cniConf: v.string() });

export const formatRecord = ({ launchers: [launcher], cniConf }: InstallLayout): string =>
  `${JSON.stringify({ cniBin: dirname(launcher), cniConf }, null, 2)}\n`;

/** The layout as it was installed; the defaults where nothing is. */
export function installedLayout({ root, home }: InstallOptions): InstallLayout {
  const options = {
    ...(root === undefined ? {} : { root }),
    ...(home === undefined ? {} : { home }),
  };
  const asked = installLayout(options);
  const file = join(asked.root, asked.current, recordName);
  try {
    return installLayout({
      ...options,
      ...v.parse(recordSchema, JSON.parse(readFileSync(file, "utf8"))),
    });
  } catch (cause) {
    if (hasErrno(cause, "ENOENT")) return asked;
    throw new Error(`Cannot read ${file}, which says what was installed`, { cause });
  }
}
