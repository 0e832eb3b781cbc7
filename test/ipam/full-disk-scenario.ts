// Runs in a mount namespace of its own, on a file system of the size that its arguments say. Reserves
// until the disk is full, releases half, reserves again; prints what happened as JSON.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { CniError } from "../../core/cni/error.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemClock } from "../../kernel/clock.ts";
import { add, key, never, ranges } from "./lease-directory.ts";

const [, , options = ""] = process.argv;
const dataDir = "/mnt/networks";
execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", "/mnt"]);
mkdirSync(dataDir);
const open = () => openIpam({ dataDir, clock: systemClock });
const held = new Map<string, string>();
const errors = new Set<string>();
const fill = async (prefix: string): Promise<void> => {
  for (let i = 0; i < 200; i++) {
    const id = `${prefix}${i}`;
    try {
      const [address = ""] = await add(open(), key(id), { ranges: ranges("10.1.0.0/16") });
      held.set(id, address);
    } catch (thrown) {
      if (!(thrown instanceof CniError)) throw thrown;
      errors.add(`${thrown.code} ${thrown.message}: ${thrown.details}`);
      return;
    }
  }
};
await fill("a");
const first = held.size;
for (const id of [...held.keys()].filter((_, i) => i % 2 === 0)) {
  await open().release(key(id), never);
  held.delete(id);
}
const kept = held.size;
await fill("b");
const leases = await open().leases("mynet");
const files = readdirSync(`${dataDir}/mynet`).filter((name) => /^\d/.test(name));
process.stdout.write(
  JSON.stringify({
    first,
    second: held.size - kept,
    errors: [...errors],
    isAsTold:
      leases.length === held.size &&
      leases.every(({ containerId, address }) => held.get(containerId) === address),
    isWhole: files.every((name) =>
      /^[ab]\d+\r\neth0$/.test(readFileSync(`${dataDir}/mynet/${name}`, "utf8")),
    ),
  }),
);
