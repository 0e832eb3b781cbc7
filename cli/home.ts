// Where fairlead's own files are: beside this one when it is installed, around it when it was built
// and not installed (dist/lib), and in the repository when it runs as source.
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";

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
