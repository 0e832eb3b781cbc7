import { CniCode, CniError } from "./error.ts";

/**
 * CNI_ARGS: `K=V;K=V`. Cut at the first `=` (a value may be a JSON document), pieces without one are
 * skipped, and unknown keys are kept and never an error: the reference refuses all three, but
 * runtimes send them. The last of a repeated key wins. Throws CniError invalidEnvironment when
 * IgnoreUnknown is no boolean.
 */
export function parseCniArgs(text: string): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  for (const piece of text.split(";")) {
    const cut = piece.indexOf("=");
    if (cut > 0) args.set(piece.slice(0, cut), piece.slice(cut + 1));
  }
  const ignoreUnknown = args.get("IgnoreUnknown");
  if (ignoreUnknown !== undefined && !/^(1|0|true|false)$/i.test(ignoreUnknown)) {
    throw new CniError(
      CniCode.invalidEnvironment,
      `Invalid IgnoreUnknown "${ignoreUnknown}" in CNI_ARGS: expected 1, true, 0 or false`,
    );
  }
  return args;
}
