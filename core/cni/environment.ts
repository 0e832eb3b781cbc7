// The CNI_ variables: which verb needs which, and what they may hold (specification: "Parameters").
import { parseIfName } from "../names.ts";
import { CniCode, CniError } from "./error.ts";
import type { CniCommand, Environment } from "./types.ts";

export const cniCommands: readonly CniCommand[] = [
  "ADD",
  "DEL",
  "CHECK",
  "GC",
  "STATUS",
  "VERSION",
];

export const isCniCommand = (text: string): text is CniCommand =>
  cniCommands.some((command) => command === text);

const attachment: readonly CniCommand[] = ["ADD", "DEL", "CHECK"];

interface Variable {
  readonly name: string;
  readonly requiredBy: readonly CniCommand[];
  /** What is accepted, when the value is not. */
  readonly expected: (value: string) => string | undefined;
}

// In the order in which they are looked at. DEL does without CNI_PATH, unlike the reference: nothing
// may stand in the way of cleaning up.
const variables: readonly Variable[] = [
  {
    name: "CNI_CONTAINERID",
    requiredBy: attachment,
    expected: (value) =>
      /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(value)
        ? undefined
        : `a letter or digit, then letters, digits, "_", "." or "-"`,
  },
  { name: "CNI_NETNS", requiredBy: ["ADD", "CHECK"], expected: () => undefined },
  {
    name: "CNI_IFNAME",
    requiredBy: attachment,
    expected: (value) =>
      parseIfName(value) === undefined
        ? `1 to 15 octets, without "/", ":", "%" or white space, not "." or ".."`
        : undefined,
  },
  { name: "CNI_PATH", requiredBy: ["ADD", "CHECK", "GC", "STATUS"], expected: () => undefined },
];

/**
 * Throws CniError invalidEnvironment: for the first invalid value alone, else naming all that are
 * missing. An empty variable is a missing one; what the verb does not need is not looked at.
 */
export function checkEnvironment(command: string, environment: Environment): void {
  const missing: string[] = command === "" ? ["CNI_COMMAND"] : [];
  for (const { name, requiredBy, expected } of variables) {
    if (!requiredBy.some((verb) => verb === command)) continue;
    const value = environment[name] ?? "";
    if (value === "") {
      missing.push(name);
      continue;
    }
    const accepted = expected(value);
    if (accepted !== undefined) {
      throw new CniError(
        CniCode.invalidEnvironment,
        `Invalid ${name} ${JSON.stringify(value)}: expected ${accepted}`,
      );
    }
  }
  if (missing.length > 0) {
    throw new CniError(
      CniCode.invalidEnvironment,
      `Missing environment variables: ${missing.join(", ")}`,
    );
  }
}
