import { randomInt } from "node:crypto";
import type { Random } from "../core/clock.ts";

/** The machine's randomness: what every entry point passes on. */
export const systemRandom: Random = { below: (limit) => randomInt(limit) };
