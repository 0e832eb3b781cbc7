import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { homeMarker } from "../core/cni/launcher-home.ts";
import { hasErrno } from "../core/error.ts";
import { paths } from "../core/paths.ts";
import { isOurs as isOurConflist } from "../daemon/node/conflist.ts";
import type { InstallLayout } from "./install-layout.ts";

// Each function returns the paths it removed, as the installed system has them.

/** What `install` put there, as far as it is still ours. The operator's configuration stays. */
export function removeInstalledFiles(layout: InstallLayout): string[] {
  const { root, homes, current, launchers, command, unit, cluster } = layout;
  const isOurLauncher = (file: string): boolean => readFileSync(file).includes(homeMarker);
  const isOurLink = (file: string): boolean =>
    lstatSync(file).isSymbolicLink() && readlinkSync(file).startsWith(`${current}/`);
  return [
    ...launchers.flatMap((path) => removeIf(root, path, isOurLauncher)),
    ...removeIf(root, command, isOurLink),
    ...removeIf(root, unit, () => true),
    ...removeIf(root, homes, () => true),
    ...[cluster, dirname(cluster)].flatMap((path) => removeIfEmpty(join(root, path), path)),
  ];
}

/** The conflist with our mark; one without it is the operator's. */
export function removeManagedConflist({ root, cniConf }: InstallLayout): string[] {
  const path = join(cniConf, paths.conflist);
  return removeIf(root, path, (file) => isOurConflist(readFileSync(file, "utf8")));
}

/** What the daemon and the plugin kept: run, state, and the leases of these networks. */
export function removeNodeState(networks: ReadonlySet<string>): string[] {
  const leases = [...networks].map((network) => join(paths.leases, network));
  return [paths.run, paths.state, ...leases].flatMap((path) => removeIf("/", path, () => true));
}

function removeIf(root: string, path: string, isOurs: (file: string) => boolean): string[] {
  const file = join(root, path);
  if (lstatSync(file, { throwIfNoEntry: false }) === undefined || !isOurs(file)) return [];
  return removeTree(file) ? [path] : [];
}

/** Says whether it removed anything: a directory that something is mounted on stays, emptied. */
function removeTree(path: string): boolean {
  if (!lstatSync(path).isDirectory()) {
    rmSync(path);
    return true;
  }
  const removed = readdirSync(path).map((name) => removeTree(join(path, name)));
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    if (!hasErrno(error, "EBUSY")) throw error;
    return removed.includes(true);
  }
}

function removeIfEmpty(directory: string, path: string): string[] {
  if (!existsSync(directory) || readdirSync(directory).length > 0) return [];
  rmdirSync(directory);
  return [path];
}
