import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { formatEvent } from "../../ipam/journal-event.ts";
import { ip } from "../support/builders.ts";
import type { DataDir } from "./lease-directory.ts";

/** Adds so much to the journal, of an address in no range, that the next release writes it anew. */
export function lengthenJournal({ path }: DataDir, network = "mynet"): void {
  const line = formatEvent({
    kind: "freed",
    addresses: [ip("10.99.0.1")],
    why: "x".repeat(1000),
    freed: { bootId: "boot-0", elapsedMs: 1, wallMs: 1 },
  });
  appendFileSync(join(path, ".fairlead/leases", network), line.repeat(200));
}
