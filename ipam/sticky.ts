// Which addresses a pod had, by its name: a pod of a StatefulSet gets them again. A journal of its own
// per network, and the only one that is synced as it grows: it must outlive a power cut.
import * as fs from "node:fs";
import { open } from "node:fs/promises";
import type { Ip } from "../core/address.ts";
import type { PodName } from "../core/cni/pod-name.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type { StickyEvent } from "./journal-event.ts";
import type { LeaseJournal } from "./journal.ts";

/** Names beyond this many are forgotten, those first that came least recently. */
const mostPods = 4096;
const longestUnusedMs = 30 * 86_400_000;
/** Near enough for what is forgotten after thirty days. */
const noteAgainMs = 86_400_000;
const octetsPerLine = 1000;
const leastCompacted = 64 << 10;

/**
 * Used with the network's lock held, but for {@link settled}. What cannot be read or written costs a pod
 * its earlier address and a warning, never the ADD.
 */
export class StickyAddresses {
  readonly #journal: LeaseJournal;
  readonly #log: Log;
  readonly #pods = new Map<string, StickyEvent>();
  #sync: Promise<void> | undefined;

  constructor(journal: LeaseJournal, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  /** The addresses that the pod had last. */
  of(pod: PodName | undefined): readonly Ip[] {
    if (pod === undefined) return [];
    this.#attempt(() => this.#hear());
    return this.#pods.get(keyOf(pod))?.addresses ?? [];
  }

  /** Is on the disk some time after. */
  remember(
    pod: PodName | undefined,
    given: readonly { readonly address: Ip }[],
    wallMs: number,
  ): void {
    if (pod === undefined) return;
    const addresses = given.map(({ address }) => address);
    const known = this.#pods.get(keyOf(pod));
    const isSame = known?.addresses.join() === addresses.join();
    if (known !== undefined && isSame && Math.abs(wallMs - known.wallMs) < noteAgainMs) return;
    const event: StickyEvent = { kind: "sticky", pod, addresses, wallMs };
    this.#attempt(() => {
      this.#journal.append(event);
      this.#note(event);
      this.#forgetOld(wallMs);
      if (this.#journal.size > leastCompacted + this.#pods.size * octetsPerLine) {
        this.#journal.replace([...this.#pods.values()]);
      } else this.#syncSoon();
    });
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (cause) {
      const { path } = this.#journal;
      this.#log.warn({ path, problem: describeError(cause) }, "cannot keep the addresses of pods");
    }
  }

  /** Resolves when what was remembered is on the disk, or cannot be brought there. */
  async settled(): Promise<void> {
    await this.#sync;
  }

  #hear(): void {
    const { isWhole, events } = this.#journal.news();
    if (isWhole) this.#pods.clear();
    for (const event of events) if (event.kind === "sticky") this.#note(event);
  }

  #note(event: StickyEvent): void {
    this.#pods.delete(keyOf(event.pod));
    this.#pods.set(keyOf(event.pod), event);
  }

  #forgetOld(nowMs: number): void {
    for (const [key, { wallMs }] of this.#pods) {
      if (this.#pods.size <= mostPods && nowMs - wallMs <= longestUnusedMs) break;
      this.#pods.delete(key);
    }
  }

  // One at a time, in the thread pool; what comes meanwhile is synced by the next.
  #syncSoon(): void {
    const before = this.#sync ?? Promise.resolve();
    const sync = before.then(() => syncFile(this.#journal.path)).catch(() => {});
    this.#sync = sync;
    void sync.then(() => {
      if (this.#sync === sync) this.#sync = undefined;
    });
  }
}

const keyOf = ({ namespace, name }: PodName): string => `${namespace}/${name}`;

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, fs.constants.O_WRONLY);
  await file.datasync();
}
