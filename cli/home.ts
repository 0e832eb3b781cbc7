// Where fairlead's own files are: beside this one when it runs as a bundle (dist/lib, or an installed
// home), and in the repository when it runs as source.
import { basename, dirname, join } from "node:path";

const here = import.meta.dirname;
const isSource = basename(here) === "cli";
const distribution = isSource ? join(here, "..", "dist") : dirname(here);

export const artifacts = {
  /** The launchers, as a runtime finds them: CNI_PATH. */
  plugins: join(distribution, "cni"),
  /** The operator's command. */
  command: join(distribution, "bin", "fairlead"),
  /** Sample configuration and the demo's manifests. */
  conf: isSource ? join(here, "..", "conf") : join(here, "conf"),
} as const;
