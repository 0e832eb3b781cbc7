// Our store never blocks in the kernel for a network's lock, and host-local does: among many of it, ours
// must have its turn as well.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { add, createDataDir, key, never, ranges } from "./lease-directory.ts";
import { referenceDir } from "./plugin-process.ts";

const contenders = 20;
const requests = 10;
const subnet = "10.8.0.0/15";

// ADD and DEL again and again while the file is there; a dot for each answer.
const loop = `
while [ -e "$GO" ]; do
  for CNI_COMMAND in ADD DEL; do
    export CNI_COMMAND
    printf %s "$CONF" | "$PLUGIN" >/dev/null 2>&1
    printf .
  done
done`;

// host-local reads every file under the lock: so many, and there is always somebody waiting for it.
const leases = 2000;

test("the store has its turn among 20 of host-local", { timeout: 120_000 }, async () => {
  using data = createDataDir();
  const go = join(data.path, "go");
  mkdirSync(join(data.path, "mynet"));
  writeFileSync(go, "");
  for (let i = 0; i < leases; i++) {
    writeFileSync(join(data.path, "mynet", `10.9.${i >> 8}.${i & 255}`), `held-${i}\r\neth0`);
  }
  const ipam = { type: "host-local", dataDir: data.path, ranges: [[{ subnet }]] };
  const conf = { cniVersion: "1.0.0", name: "mynet", type: "bridge", ipam };
  let answers = 0;
  const begin = (index: number): ChildProcess => {
    const child = spawn("sh", ["-c", loop], {
      env: {
        GO: go,
        CONF: JSON.stringify(conf),
        PLUGIN: join(referenceDir, "host-local"),
        CNI_CONTAINERID: `other-${index}`,
        CNI_NETNS: "/run/netns/none",
        CNI_IFNAME: "eth0",
        CNI_PATH: referenceDir,
        PATH: process.env["PATH"],
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.stdout.on("data", (dots: Buffer) => (answers += dots.length));
    return child;
  };
  const store = data.open({ lockDeadlineMs: 60_000 });
  const others = Array.from({ length: contenders }, (_, index) => begin(index));
  const waited: number[] = [];
  try {
    for (const { stdout } of others) await once(stdout!, "data");
    for (let i = 0; i < requests; i++) {
      const before = answers;
      await add(store, key(`ours-${i}`), { ranges: ranges(subnet) });
      waited.push(answers - before);
      await store.release(key(`ours-${i}`), never);
    }
  } finally {
    rmSync(go);
    await Promise.all(others.map((child) => once(child, "close")));
  }
  // In turns of the others, of which each has one while all have one.
  expect(waited.filter((turns) => turns >= 3 * contenders)).toEqual([]);
});
