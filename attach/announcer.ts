import type { Ip } from "../core/address.ts";
import type { AttachmentKey } from "../core/names.ts";
import type { WiredRecord } from "./records.ts";

/**
 * Who tells others of this node's pods: the resolver, in the daemon. Nobody is told of a pod that cannot
 * be reached yet, nor of one that is going. What is said takes effect in its order; nothing of it fails.
 */
export interface Announcer {
  /** Of an attachment that is being made. */
  withhold(addresses: readonly Ip[]): void;
  /** It works. Takes effect in a moment: its pod asks later. */
  announce(record: WiredRecord): void;
  /** It is about to end. Resolves when what others are told goes by that. */
  withdraw(key: AttachmentKey): Promise<void>;
}

/** For a process that nobody asks for names. */
export const silentAnnouncer: Announcer = {
  withhold: () => {},
  announce: () => {},
  withdraw: () => Promise.resolve(),
};
