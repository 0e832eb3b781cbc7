import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { aNode, aSnapshot } from "../../test/support/builders.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { KeptCopy } from "./kept-copy.ts";

test("has soon what came while one was written, also where the disk or others take long", async () => {
  const path = join(temporaryDirectory(), "cluster.jsonl");
  const snapshots = ["node-a", "node-b"].map((name) =>
    aSnapshot({ nodes: [aNode(name, "172.30.1.11", "10.244.1.0/24")] }),
  );
  let nowMs = 0;
  const clock = {
    // Asked when a copy is begun.
    nowMs: () => {
      const next = snapshots.shift();
      if (next !== undefined) copy.keep(next);
      return 0;
    },
    // Ten seconds pass between any two looks.
    monotonicMs: () => (nowMs += 10_000),
  };
  const timing = { firstMs: 1, afterMs: 1, pauseFactor: 100 };
  const copy = new KeptCopy({ path, copyOf: "test", clock, log: silentLog, timing });
  onTestFinished(() => copy[Symbol.dispose]());
  copy.keep(aSnapshot({}));
  await vi.waitFor(() => expect(readFileSync(path, "utf8")).toContain("node-b"), {
    timeout: 30_000,
  });
});
