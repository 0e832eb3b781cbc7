// The journal of one network, as those who keep its leases use it: what cannot be read or written of it
// costs details, never an address, and is said in the log.
import type { Ip } from "../core/address.ts";
import { describeError } from "../core/error.ts";
import type { Log } from "../core/log.ts";
import type { JournalEvent, LeaseDetails, Moment } from "./journal-event.ts";
import type { LeaseJournal } from "./journal.ts";
import type { LeaseMemory } from "./lease-memory.ts";

export interface LeaseNotesOptions {
  readonly network: string;
  readonly journal: LeaseJournal;
  readonly log: Log;
}

// A line takes some 330 octets: written anew when two thirds of it say nothing any more.
const leastCompacted = 128 << 10;
const octetsPerLine = 1000;

export class LeaseNotes {
  readonly #options: LeaseNotesOptions;
  #isReported = false;

  constructor(options: LeaseNotesOptions) {
    this.#options = options;
  }

  /** Tells memory what is new. */
  hear(memory: LeaseMemory): void {
    const { journal, network, log } = this.#options;
    const { path } = journal;
    try {
      const news = journal.news();
      memory.hear(news);
      if (news.unreadable === 0 || this.#isReported) return;
      const lines = news.unreadable;
      log.warn({ network, path, lines }, "the journal of leases has lines that say nothing");
    } catch (cause) {
      if (this.#isReported) return;
      const problem = describeError(cause);
      log.warn({ network, path, problem }, "cannot read the journal of leases");
    }
    this.#isReported = true;
  }

  /** Undefined when it could not be written: a lease without its line is like another program's. */
  given(addresses: readonly Ip[], details: LeaseDetails): LeaseDetails | undefined {
    return this.#append({ kind: "given", addresses, details }) ? details : undefined;
  }

  freed(addresses: readonly Ip[], why: string, freed: Moment): void {
    this.#append({ kind: "freed", addresses, why, freed });
  }

  /** For DEL, never for ADD: the new journal is synced, which takes milliseconds. */
  compact(memory: LeaseMemory): void {
    const { journal, network, log } = this.#options;
    if (journal.size < leastCompacted + memory.lines * octetsPerLine) return;
    try {
      journal.replace(memory.events());
    } catch (cause) {
      const problem = describeError(cause);
      log.warn({ network, path: journal.path, problem }, "cannot write the journal of leases anew");
    }
  }

  /** The next news are everything again. */
  forget(): void {
    this.#options.journal.forget();
  }

  #append(event: JournalEvent): boolean {
    const { journal, network, log } = this.#options;
    try {
      journal.append(event);
      return true;
    } catch (cause) {
      const problem = describeError(cause);
      log.warn({ network, path: journal.path, problem }, "cannot write to the journal of leases");
      return false;
    }
  }
}
