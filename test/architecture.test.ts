import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

/** What a folder may import: other folders, npm packages, node: modules. */
interface Allowed {
  readonly folders: readonly string[];
  readonly packages: readonly string[];
  readonly node: readonly string[] | "any";
}

// core ← kernel ← features (ipam, attach, dns) ← entry points (plugin, daemon, cli): ARCHITECTURE.md.
const allowed: Readonly<Record<string, Allowed>> = {
  // Pure: no I/O, clock or randomness. node:net for isIP, node:crypto for a hash: both are functions.
  core: { folders: [], packages: ["valibot"], node: ["net", "crypto"] },
  // The only code that changes Linux, so the only user of FFI and of netlink's structures.
  kernel: { folders: ["core"], packages: ["netlink", "koffi"], node: "any" },
  // ip-cidr: where a cluster is divided into nodes, which no CNI request does.
  ipam: { folders: ["core", "kernel"], packages: ["ip-cidr", "valibot"], node: "any" },
  // execa: delegated IPAM plugins, loaded when one must run (99 ms).
  attach: { folders: ["core", "ipam", "kernel"], packages: ["valibot", "execa"], node: "any" },
  dns: { folders: ["core", "kernel"], packages: [], node: "any" },
  plugin: { folders: ["core", "attach", "ipam", "kernel"], packages: [], node: "any" },
  daemon: {
    folders: ["core", "kernel", "ipam", "attach", "dns"],
    packages: ["yaml", "pino", "prom-client", "valibot"],
    node: "any",
  },
  cli: {
    folders: ["core", "kernel", "ipam", "attach", "dns", "daemon"],
    packages: ["commander", "execa", "yaml", "valibot"],
    node: "any",
  },
};

const entryFolders = new Set(["test", "bench", "scripts"]);

const sourcesOf = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .map((file) => join(folder, file));

/** The specifiers of a file: `static` imports run at load, dynamic ones when called. */
function importsOf(file: string): { readonly specifier: string; readonly isStatic: boolean }[] {
  const text = readFileSync(join(root, file), "utf8");
  const found: { specifier: string; isStatic: boolean }[] = [];
  const pattern =
    /^\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
  for (const match of text.matchAll(pattern)) {
    const specifier = match[2] ?? match[3];
    if (specifier !== undefined) {
      found.push({ specifier, isStatic: match[2] !== undefined && match[1] === undefined });
    }
  }
  return found;
}

function problemOf(file: string, specifier: string): string | undefined {
  const folder = file.split("/")[0] ?? "";
  const rule = allowed[folder];
  if (rule === undefined) return undefined;
  if (specifier.startsWith(".")) {
    const target = relative(root, join(root, dirname(file), specifier)).split("/")[0] ?? "";
    return target === folder || rule.folders.includes(target)
      ? undefined
      : `${file} imports ${specifier}: ${folder}/ may import ${rule.folders.join(", ") || "nothing"}`;
  }
  if (specifier.startsWith("node:")) {
    const name = specifier.slice(5);
    return rule.node === "any" || rule.node.includes(name)
      ? undefined
      : `${file} imports ${specifier}: ${folder}/ is pure`;
  }
  const name = specifier.split("/")[0] ?? "";
  return rule.packages.includes(name) ? undefined : `${file} imports the package ${name}`;
}

/** Every package that loading `file` loads, through static imports. */
function packagesLoadedBy(file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(file)) return packages;
  seen.add(file);
  for (const { specifier, isStatic } of importsOf(file)) {
    if (!isStatic || specifier.startsWith("node:")) continue;
    if (specifier.startsWith(".")) {
      for (const name of packagesLoadedBy(join(dirname(file), specifier), seen)) packages.add(name);
    } else packages.add(specifier.split("/")[0] ?? "");
  }
  return packages;
}

/** Of the folders within `folder`, those that import each other in a circle; its own files are above them. */
function foldersInCircles(folder: string): string[] {
  const imports = new Map<string, Set<string>>();
  for (const file of sourcesOf(folder)) {
    const from = dirname(file);
    if (from === folder) continue;
    const targets = importsOf(file)
      .filter(({ specifier }) => specifier.startsWith("."))
      .map(({ specifier }) => dirname(join(from, specifier)))
      .filter((to) => to !== from && (to === folder || to.startsWith(`${folder}/`)));
    imports.set(from, new Set([...(imports.get(from) ?? []), ...targets]));
  }
  // What imports only what has been taken away is in no circle.
  let before: number;
  do {
    before = imports.size;
    for (const [from, targets] of imports) {
      if ([...targets].every((to) => to !== folder && !imports.has(to))) imports.delete(from);
    }
  } while (imports.size < before);
  return [...imports.keys()];
}

const topFolders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
  .map((entry) => entry.name)
  .filter((name) => !["node_modules", "toolchain", "dist", "docs", "conf"].includes(name));

describe("the direction of imports", () => {
  test.each(topFolders)("%s/ has a rule, and keeps it", (folder) => {
    if (entryFolders.has(folder)) return;
    expect(Object.keys(allowed)).toContain(folder);
    const problems = sourcesOf(folder).flatMap((file) =>
      importsOf(file).flatMap(({ specifier }) => problemOf(file, specifier) ?? []),
    );
    expect(problems).toEqual([]);
  });

  test("finds an import against the direction", () => {
    expect(problemOf("core/address.ts", "../kernel/kernel.ts")).toContain("may import nothing");
    expect(problemOf("core/address.ts", "node:fs")).toContain("core/ is pure");
    expect(problemOf("dns/cluster/zone.ts", "yaml")).toContain("the package yaml");
  });

  test.each(["dns", "daemon"])("the folders of %s/ import each other one way", (folder) => {
    expect(foldersInCircles(folder)).toEqual([]);
  });

  test("finds folders that import each other in a circle", () => {
    expect(foldersInCircles("core")).toEqual(expect.arrayContaining(["core/cni", "core/desired"]));
  });

  test("the daemon loads no package that it does not need at once", () => {
    const loaded = [...packagesLoadedBy("daemon/main.ts")];
    expect(loaded.filter((name) => ["prom-client", "execa", "commander"].includes(name))).toEqual(
      [],
    );
  });

  test("the daemon imports nothing of node:http: that would load Node's fetch, of 5 MiB", () => {
    const imports = ["daemon", "dns", "kernel", "attach", "ipam"]
      .flatMap(sourcesOf)
      .filter((file) =>
        importsOf(file).some(({ specifier, isStatic }) => specifier === "node:http" && isStatic),
      );
    expect(imports).toEqual([]);
  });

  test("the resolver's thread imports nothing of node:tls: it takes 3 MiB, and few upstreams speak it", () => {
    const imports = ["core", "kernel", "dns"]
      .flatMap(sourcesOf)
      .filter((file) =>
        importsOf(file).some(({ specifier, isStatic }) => specifier === "node:tls" && isStatic),
      );
    expect(imports).toEqual([]);
  });

  test("the plugin loads no package that it does not need at once", () => {
    const slow = ["yaml", "pino", "execa", "commander", "prom-client", "ip-cidr"];
    for (const entry of ["plugin/commands.ts", "plugin/main.ts", "ipam/main.ts"]) {
      const loaded = [...packagesLoadedBy(entry)];
      expect(loaded.filter((name) => slow.includes(name))).toEqual([]);
    }
  });
});
