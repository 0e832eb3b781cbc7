// Which files of a directory are manifests.
import { type Dirent, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

export interface ListedManifests {
  /** Sorted. */
  readonly files: readonly string[];
  /** The directory itself and those in it that were looked into. */
  readonly directories: ReadonlySet<string>;
  /** Some are links: what they lead to changes without a notification that names them. */
  readonly hasLinks: boolean;
}

/**
 * Manifests in the directory and in directories, or links to such, right below it. Names that editors and
 * copying tools use for what is not finished are left out, as are hidden ones: `..data` of a ConfigMap
 * volume is where its visible links lead.
 */
export function listManifests(directory: string): ListedManifests {
  const files: string[] = [];
  const directories = new Set([directory]);
  let hasLinks = false;
  const visit = (path: string, entries: readonly Dirent[], isTop: boolean): void => {
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const inner = join(path, entry.name);
      const isManifest = isManifestName(entry.name);
      const isFollowed = !isManifest && isTop && isDirectory(inner, entry);
      if (isManifest || isFollowed) hasLinks ||= entry.isSymbolicLink();
      if (isManifest) files.push(inner);
      if (isFollowed) {
        directories.add(inner);
        visit(inner, readdirSync(inner, { withFileTypes: true }), false);
      }
    }
  };
  visit(directory, readdirSync(directory, { withFileTypes: true }), true);
  return { files: files.sort(), directories, hasLinks };
}

export const isManifestName = (name: string): boolean => /^[^.#~].*\.(ya?ml|json)$/.test(name);

function isDirectory(path: string, entry: Dirent): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
