// The file source's place: a directory with one manifest per object.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../../core/log.ts";
import { openFileSource } from "../../daemon/source/file-source.ts";
import type { KubernetesObject, SourceWorld } from "./source-world.ts";

// That its directory was moved is what nothing notifies a source of: it looks now and then.
const timing = { quietMs: 5, atMostMs: 50, everyMs: 50, missingMs: 10 };

const fileOf = ({ kind, metadata: { namespace = "", name } }: KubernetesObject): string =>
  `${kind}_${namespace}_${name}.json`;

export async function fileWorld(): Promise<SourceWorld> {
  const parent = mkdtempSync(join(tmpdir(), "fairlead-source-"));
  const directory = join(parent, "cluster.d");
  const elsewhere = join(parent, "elsewhere");
  let there = directory;
  mkdirSync(directory);
  return {
    open: () => openFileSource({ directory, log: silentLog, timing }),
    put: async (...objects) => {
      for (const object of objects) {
        const path = join(there, fileOf(object));
        writeFileSync(`${path}.tmp`, JSON.stringify(object));
        renameSync(`${path}.tmp`, path);
      }
    },
    remove: async (...objects) => {
      for (const object of objects) rmSync(join(there, fileOf(object)));
    },
    goAway: async () => {
      renameSync(directory, elsewhere);
      there = elsewhere;
    },
    comeBack: async () => {
      renameSync(elsewhere, directory);
      there = directory;
    },
    [Symbol.asyncDispose]: async () => rmSync(parent, { recursive: true }),
  };
}
