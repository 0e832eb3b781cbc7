import type { Ip } from "../core/address.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { WiredRecord } from "./records.ts";

/**
 * Who tells others of this node's pods: the resolver, in the daemon. Nobody is told of a pod that cannot
 * be reached yet, nor of one that is going. Each resolves when what others are told goes by it; none fails.
 * A DEL waits for that; an ADD need not, for its pod asks later.
 */
export interface Announcer {
  /** Of an attachment that is being made. */
  withhold(addresses: readonly Ip[]): Promise<void>;
  /** It works. */
  announce(record: WiredRecord): Promise<void>;
  /** It is about to end. */
  withdraw(key: AttachmentKey): Promise<void>;
}

/** For a process that nobody asks for names. */
export const silentAnnouncer: Announcer = {
  withhold: () => Promise.resolve(),
  announce: () => Promise.resolve(),
  withdraw: () => Promise.resolve(),
};
