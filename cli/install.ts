import {
  constants,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { patchLauncherHome } from "../core/cni/launcher-home.ts";
import { version } from "../core/version.ts";
import { makeDirectories } from "../kernel/make-directories.ts";
import type { CliContext } from "./context.ts";
import { type Artifacts, artifacts } from "./home.ts";
import { formatRecord, type InstallLayout, installLayout, recordName } from "./install-layout.ts";
import { installDefaults, type InstallOptions } from "./install-options.ts";

/** `fairlead install`. Everything is put in place by rename, so that what runs is never half a file. */
export function install(options: InstallOptions, context: CliContext): void {
  const layout = installLayout(options);
  checkComplete(artifacts);
  const written = layOut(layout, artifacts);
  if (options.json)
    context.stdout(`${JSON.stringify({ version, root: layout.root, written }, null, 2)}\n`);
  else context.stdout(installedText(layout, written));
}

function checkComplete({ home, plugins, conf }: Artifacts): void {
  for (const file of [join(home, "node"), join(home, "cli.js"), join(plugins, "fairlead"), conf]) {
    if (!existsSync(file))
      throw new Error(`Cannot install: ${file} is missing; "./run build" makes it`);
  }
}

/** Returns the paths it wrote, as the installed system has them. */
function layOut(layout: InstallLayout, from: Artifacts): string[] {
  const { homes, current, launchers, command, unit, cluster, cniConf } = layout;
  const inRoot = (path: string): string => join(layout.root, path);
  const launcher = patchLauncherHome(readFileSync(join(from.plugins, "fairlead")), current);
  const home = join(homes, version);
  replaceDirectory(inRoot(home), (stage) => fillHome(stage, { from, launcher, layout }));
  replaceLink(inRoot(current), version);
  const [first, second] = launchers;
  replaceFile(inRoot(first), (stage) => writeFileSync(stage, launcher, { mode: 0o755 }));
  replaceFile(inRoot(second), (stage) => linkSync(inRoot(first), stage));
  replaceLink(inRoot(command), join(current, "bin", "fairlead"));
  replaceFile(inRoot(unit), (stage) => cpSync(join(from.conf, basename(unit)), stage));
  for (const directory of [cluster, cniConf]) ensureDirectory(inRoot(directory));
  return [home, current, ...launchers, command, unit, ...writeConfig(layout)];
}

interface HomeParts {
  readonly from: Artifacts;
  readonly launcher: Uint8Array;
  readonly layout: InstallLayout;
}

function fillHome(stage: string, { from, launcher, layout }: HomeParts): void {
  // The Node binary has 150 MB: a file system that can share them does.
  cpSync(from.home, stage, { recursive: true, mode: constants.COPYFILE_FICLONE });
  // The home has launchers and command too, so that a lab works from an installation.
  for (const directory of ["cni", "bin"]) {
    rmSync(join(stage, directory), { recursive: true, force: true });
    mkdirSync(join(stage, directory));
  }
  writeFileSync(join(stage, "cni", "fairlead"), launcher, { mode: 0o755 });
  linkSync(join(stage, "cni", "fairlead"), join(stage, "cni", "fairlead-ipam"));
  writeFileSync(join(stage, "bin", "fairlead"), commandScript, { mode: 0o755 });
  writeFileSync(join(stage, recordName), formatRecord(layout));
}

const commandScript = `#!/bin/sh
home=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$home/node" "$home/cli.js" "$@"
`;

/** Only where another conflist directory was asked for and the operator has no configuration yet. */
function writeConfig({ root, config, cniConf }: InstallLayout): string[] {
  if (cniConf === installDefaults.cniConf || existsSync(join(root, config))) return [];
  replaceFile(join(root, config), (stage) =>
    writeFileSync(stage, `cni: { confDir: ${cniConf} }\n`),
  );
  return [config];
}

function installedText(
  { root, config, cluster, cniConf }: InstallLayout,
  written: readonly string[],
): string {
  const where = root === "/" ? "" : ` below ${root}`;
  return `installed fairlead ${version}${where}:
${written.map((path) => `  ${path}\n`).join("")}next:
  write ${config} where the defaults do not fit, and the cluster's manifests into ${cluster}
  check that its cni.confDir is ${cniConf}, where the container runtime looks
  systemctl daemon-reload && systemctl enable --now fairlead
`;
}

function ensureDirectory(path: string): void {
  try {
    makeDirectories(path, 0o755);
  } catch (cause) {
    throw new Error(`Cannot install: the directory "${path}" cannot be made`, { cause });
  }
}

function replaceFile(file: string, make: (stage: string) => void): void {
  ensureDirectory(dirname(file));
  const stage = stageOf(file);
  try {
    make(stage);
    renameSync(stage, file);
  } finally {
    rmSync(stage, { force: true });
  }
}

const replaceLink = (link: string, target: string): void =>
  replaceFile(link, (stage) => symlinkSync(target, stage));

/** A directory cannot be renamed over a full one: the old one steps aside first. */
function replaceDirectory(directory: string, fill: (stage: string) => void): void {
  ensureDirectory(dirname(directory));
  const [stage, old] = [stageOf(directory), `${stageOf(directory)}.old`];
  try {
    fill(stage);
    if (existsSync(directory)) renameSync(directory, old);
    renameSync(stage, directory);
  } finally {
    for (const path of [stage, old]) rmSync(path, { recursive: true, force: true });
  }
}

const stageOf = (path: string): string => join(dirname(path), `.${basename(path)}.${process.pid}`);
