import { replaceFile, readFileIfThere } from "../files/replace-file.ts";

export interface BootRecord {
  /** Where the id of the boot that the daemon last ran in is kept, over reboots. */
  readonly path: string;
  readonly bootId: string;
}

/**
 * Whether fairlead served pods on this node in an earlier boot and has not started in this one. Then
 * those pods are gone, for none survives a reboot, while their leases are still on the disk. Until
 * {@link rememberBoot}.
 */
export function isFirstSinceReboot({ path, bootId }: BootRecord): boolean {
  const last = readFileIfThere(path)?.trim();
  // Without it fairlead may be new here, and the leases those of another plugin's living pods.
  return last !== undefined && last !== bootId;
}

export const rememberBoot = ({ path, bootId }: BootRecord): void =>
  replaceFile(path, `${bootId}\n`, 0o644);
