import { describeError } from "../core/error.ts";
import type { IfName } from "../core/names.ts";

/** The rest is counted. */
const named = 16;

/** Interfaces of attachments at the node that are not as they should be, and why: for status. */
export class Unmended {
  readonly #reasons = new Map<IfName, string>();

  has(device: IfName): boolean {
    return this.#reasons.has(device);
  }

  /** @param alias whose interface it is. */
  add(device: IfName, alias: string | undefined, error: Error): void {
    const whose = alias === undefined ? "" : ` (${alias})`;
    this.#reasons.set(device, `Cannot mend "${device}"${whose}: ${describeError(error)}`);
  }

  delete(device: IfName): void {
    this.#reasons.delete(device);
  }

  /** Forgets those of attachments that are gone. */
  keep(devices: ReadonlySet<IfName>): void {
    for (const device of this.#reasons.keys()) {
      if (!devices.has(device)) this.#reasons.delete(device);
    }
  }

  /** One sentence each, and one of how many there are beyond that. */
  sentences(): readonly string[] {
    const all = [...this.#reasons.values()];
    const more = all.length - named;
    return [
      ...all.slice(0, named),
      ...(more > 0 ? [`Cannot mend ${more} more interfaces of pods: the log names them`] : []),
    ];
  }
}
