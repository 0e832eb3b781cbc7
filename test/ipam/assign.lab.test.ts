import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { readNodes } from "../../cli/ipam/manifests.ts";
import { temporaryDirectory } from "../support/temporary.ts";

test("`fairlead ipam assign` gives no block twice, and loses none, when many run at once", async () => {
  const directory = temporaryDirectory();
  const [clusterDirectory, config] = [
    join(directory, "cluster.d"),
    join(directory, "fairlead.yaml"),
  ];
  const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
  mkdirSync(clusterDirectory);
  writeFileSync(config, "");
  writeFileSync(
    join(clusterDirectory, "nodes.yaml"),
    names.map((name) => `apiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\n`).join("---\n"),
  );
  const chosen = names.slice(0, 6);
  const main = join(import.meta.dirname, "../../cli/main.ts");
  const where = ["--cluster", clusterDirectory, "--config", config];
  await Promise.all(
    chosen.map((name) =>
      promisify(execFile)(process.execPath, [main, "ipam", "assign", "--node", name, ...where]),
    ),
  );
  const podCidrs = readNodes(clusterDirectory).flatMap(({ node }) => node.podCidrs);
  expect(podCidrs).toHaveLength(chosen.length);
  expect(new Set(podCidrs).size).toBe(chosen.length);
});
