// What the responder's side tells the thread that gives its answers again. Plain data, made to be cloned.
import type { SearchingClient } from "../clients/searching-clients.ts";
import { headerOctets, RecordType } from "../message/message.ts";
import { layoutOf, nameEnd } from "./wire-answer.ts";
import type { StoredAnswer } from "./wire-store.ts";

export type WireUpdate =
  | {
      readonly kind: "zone";
      /** Every mark before is void. */
      readonly isComplete: boolean;
      /** Hash, mark, hash, mark …; a mark of 0: gone. */
      readonly marks: Int32Array;
      /** Of the zone's SOA record. */
      readonly serial: number;
      /** While it is not, what is missing may be still to come: the zone itself must be asked. */
      readonly isInSync: boolean;
      /** What has no mark does not exist. */
      readonly mayDeny: boolean;
      /** Walks may end elsewhere. */
      readonly hasNewNames: boolean;
    }
  | {
      readonly kind: "pods";
      /** Hashes of the labels in front of the domain below which networks have names. */
      readonly trees: Int32Array;
      /** New, or with another list. */
      readonly searching: readonly SearchingClient[];
      /** Addresses whose lists are not walked any more: 4 or 16 octets each. */
      readonly gone: readonly Uint8Array[];
      /** As of the zone. */
      readonly hasNewNames: boolean;
    }
  | { readonly kind: "answer"; readonly of: AnswerOrigin; readonly answer: StoredAnswer }
  | { readonly kind: "denial"; readonly denial: Denial }
  /** Other upstreams may know better. */
  | { readonly kind: "forget-outside" };

/** Of the zone, of the cache, or of a search list and of either of them. */
export type AnswerOrigin = "cluster" | "outside" | "walked";

/** How the zone says that a name does not exist. */
export interface Denial {
  readonly variant: number;
  /** Flags, and counts of what stands behind the question: 8 octets. */
  readonly header: Uint8Array;
  /** What stands behind the question. */
  readonly tail: Uint8Array;
  /** Where in {@link tail} it points to the domain in the question. */
  readonly pointers: readonly number[];
  readonly serialAt: number;
}

/**
 * What all denials have in common, from one of the responder's. Undefined when it is no plain one: an
 * SOA whose names all end in a pointer to the domain, of `domainOctets`, in the question.
 */
export function denialFrom(
  octets: Uint8Array,
  variant: number,
  domainOctets: number,
): Denial | undefined {
  const layout = layoutOf(octets);
  const [soa] = layout?.records ?? [];
  if (layout === undefined || soa?.type !== RecordType.SOA) return undefined;
  const { questionEnd } = layout;
  const primary = nameEnd(octets, soa.start) + 10;
  const mailbox = nameEnd(octets, primary);
  const ends = [primary - 10, mailbox, nameEnd(octets, mailbox)];
  const domain = 0xc000 | (questionEnd - 4 - domainOctets);
  const pointsToDomain = (end: number): boolean =>
    (((octets[end - 2] ?? 0) << 8) | (octets[end - 1] ?? 0)) === domain;
  if (domainOctets >= questionEnd - 4 - headerOctets || !ends.every(pointsToDomain)) {
    return undefined;
  }
  return {
    variant,
    header: Uint8Array.of(...octets.subarray(2, 4), ...octets.subarray(6, 12)),
    tail: octets.slice(questionEnd),
    pointers: ends.map((end) => end - 2 - questionEnd),
    serialAt: soa.end - 20 - questionEnd,
  };
}
