// Where fairlead's own files are: beside this one when it is installed, around it when it was built
// and not installed (dist/lib), and in the repository when it runs as source.
import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import type { Environment } from "../core/cni/types.ts";

const here = import.meta.dirname;

export interface Artifacts {
  /** The launchers, as a runtime finds them: CNI_PATH. */
  readonly plugins: string;
  /** The operator's command. */
  readonly command: string;
  /** Sample configuration and the demo's manifests. */
  readonly conf: string;
  /** Node, the bundles and their native parts. */
  readonly home: string;
}

export const artifacts: Artifacts = existsSync(join(here, "cni", "fairlead"))
  ? artifactsIn(here, here)
  : basename(here) === "cli"
    ? artifactsIn(join(here, "..", "dist"), join(here, "..", "dist", "lib"))
    : artifactsIn(dirname(here), here);

function artifactsIn(distribution: string, home: string): Artifacts {
  return {
    plugins: join(distribution, "cni"),
    command: join(distribution, "bin", "fairlead"),
    conf: join(home, "conf"),
    home,
  };
}

/** The command as a shell in the directory finds it: by its name alone only where PATH leads to it. */
export function commandFor(
  environment: Environment,
  directory: string,
  command = artifacts.command,
): string {
  const name = basename(command);
  const path = (environment["PATH"] ?? "").split(":").filter((entry) => entry !== "");
  const found = path.map((entry) => join(entry, name)).find((file) => existsSync(file));
  if (found !== undefined && realpathSync(found) === realpathSync(command)) return name;
  const near = relative(directory, command);
  if (near.startsWith("..")) return command;
  // A name without a slash is looked for in PATH only.
  return near === name ? `./${name}` : near;
}
