// ./run build: everything that is installed, in dist/, where it works as it lies:
//   dist/cni/fairlead, fairlead-ipam   the launcher, under both of its names
//   dist/lib/                          the home: Node, bundled JavaScript, native parts
//   dist/bin/fairlead                  the operator's command
import {
  chmodSync,
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import { compileLauncher } from "./compile-launcher.ts";
import { mallocSettings, nodeOptions } from "./daemon-environment.ts";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const lib = join(dist, "lib");

// What a process starts with, by the name it has in the home. Each is bundled by itself, so that it
// loads one file; what it imports dynamically becomes a file of its own, loaded when it is needed.
const entries: Readonly<Record<string, string>> = {
  plugin: "plugin/main.ts",
  ipam: "ipam/main.ts",
  cli: "cli/main.ts",
  "dns-worker": "dns/worker.ts",
  "pair-worker": "kernel/pair-worker.ts",
  "dns-packet-thread": "dns/listen/packet-thread.ts",
  "manifest-process": "daemon/source/manifest-process.ts",
};

const startedAt = performance.now();
await bundle();
copyNativeParts();
copyConf();
linkNode();
buildLauncher();
writeCommand();
console.log(`built dist/ in ${Math.round(performance.now() - startedAt)} ms`);

async function bundle(): Promise<void> {
  const written = new Set<string>();
  for (const [name, source] of Object.entries(entries)) {
    const { metafile } = await build({
      absWorkingDir: root,
      entryPoints: { [name]: source },
      outdir: lib,
      bundle: true,
      platform: "node",
      target: "node26",
      format: "esm",
      splitting: true,
      chunkNames: `${name}-[name]-[hash]`,
      // A native part is found relative to its package.
      external: ["koffi"],
      // CommonJS dependencies call require() of Node's own modules, which an ES module has not.
      banner: {
        js: `import { createRequire as createRequire_ } from "node:module"; const require = createRequire_(import.meta.url);`,
      },
      legalComments: "none",
      metafile: true,
      logLevel: "warning",
    });
    for (const file of Object.keys(metafile.outputs)) written.add(relative(lib, join(root, file)));
  }
  for (const file of readdirSync(lib)) {
    if (file.endsWith(".js") && !written.has(file)) rmSync(join(lib, file));
  }
  writeFileSync(join(lib, "package.json"), `{ "type": "module" }\n`);
}

/** koffi, and its machine code for this machine: what Node loads of the two packages. */
function copyNativeParts(): void {
  const native = `@koromix/koffi-linux-${process.arch}`;
  const files = [
    "koffi/package.json",
    "koffi/LICENSE.txt",
    "koffi/index.js",
    "koffi/src/koffi/index.js",
    "koffi/src/koffi/src/static.js",
    `${native}/package.json`,
    `${native}/index.js`,
    `${native}/linux_${process.arch}/koffi.node`,
  ];
  for (const file of files) {
    const [from, to] = [join(root, "node_modules", file), join(lib, "node_modules", file)];
    if (isUpToDate(to, from)) continue;
    mkdirSync(dirname(to), { recursive: true });
    replace(to, (temporary) => copyFileSync(from, temporary));
  }
}

/** Sample configuration and the demo's manifests: `install` and `lab` take them from the home. */
function copyConf(): void {
  const to = join(lib, "conf");
  rmSync(to, { recursive: true, force: true });
  cpSync(join(root, "conf"), to, { recursive: true });
}

/** The very Node that runs this. A hard link where it can be one: it has 150 MB. */
function linkNode(): void {
  const from = realpathSync(process.execPath);
  const to = join(lib, "node");
  if (isUpToDate(to, from)) return;
  replace(to, (temporary) => {
    try {
      linkSync(from, temporary);
    } catch {
      copyFileSync(from, temporary);
    }
  });
}

function buildLauncher(): void {
  const launcher = join(dist, "cni", "fairlead");
  mkdirSync(dirname(launcher), { recursive: true });
  replace(launcher, (temporary) => compileLauncher(temporary));
  replace(`${launcher}-ipam`, (temporary) => linkSync(launcher, temporary));
}

function writeCommand(): void {
  const script = `#!/bin/sh
# The operator's command: its program, with the Node that it was built with.
home=\${FAIRLEAD_HOME:-$(dirname "$(readlink -f "$0")")/../lib}
[ -e "$home/cli.js" ] || home=/usr/lib/fairlead/current
# With these it holds less memory: docs/decisions/0037.
[ "$1" != daemon ] || export ${mallocSettings.join(" ")} NODE_OPTIONS="${nodeOptions.join(" ")} $NODE_OPTIONS"
exec "$home/node" "$home/cli.js" "$@"
`;
  const command = join(dist, "bin", "fairlead");
  mkdirSync(dirname(command), { recursive: true });
  replace(command, (temporary) => {
    writeFileSync(temporary, script);
    chmodSync(temporary, 0o755);
  });
}

/** Puts a file in its place in one step: the one that is there may be running. */
function replace(file: string, make: (temporary: string) => void): void {
  const temporary = `${file}.${process.pid}`;
  try {
    make(temporary);
    renameSync(temporary, file);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function isUpToDate(copy: string, original: string): boolean {
  const [a, b] = [copy, original].map((file) => statSync(file, { throwIfNoEntry: false }));
  return a !== undefined && b !== undefined && a.size === b.size && a.mtimeMs >= b.mtimeMs;
}
