import { readFileSync } from "node:fs";
import type { BootClock } from "../core/clock.ts";
import { paths } from "../core/paths.ts";

/** This machine's. The id is read when it is first asked for. */
export const systemBootClock: BootClock = {
  get bootId() {
    return (bootId ??= readFileSync(paths.bootId, "utf8").trim());
  },
  elapsedMs: () => Number(process.hrtime.bigint() / 1_000_000n),
};

let bootId: string | undefined;
