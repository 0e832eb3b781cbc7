// Names in random case, which an answer must repeat: what cannot be read along is guessed once more
// (draft-vixie-dnsext-dns0x20).
import type { Random } from "../../core/clock.ts";
import type { Message, RecordData, ResourceRecord } from "../message/message.ts";
import { brandName, foldName, type Name } from "../message/name.ts";

// A length octet is below "A": it is never taken for a letter.
export const mixedCase = (name: Name, random: Random): Name =>
  brandName(
    name.replace(/[a-z]/g, (letter) => (random.below(2) === 0 ? letter : letter.toUpperCase())),
  );

/**
 * The answer to a query for the name `mixed`, in lower case where it repeats that name's case: a server
 * compresses names by pointing into the question, also those of other records.
 */
export function withoutMixedCase(answer: Message, mixed: Name): Message {
  const restored = (records: readonly ResourceRecord[]): ResourceRecord[] =>
    records.map((record) => ({
      ...record,
      name: restore(record.name, mixed),
      data: restoreData(record.data, mixed),
    }));
  return {
    ...answer,
    questions: answer.questions.map((one) => ({ ...one, name: restore(one.name, mixed) })),
    answers: restored(answer.answers),
    authorities: restored(answer.authorities),
  };
}

function restoreData(data: RecordData, mixed: Name): RecordData {
  switch (data.kind) {
    case "name":
      return { ...data, name: restore(data.name, mixed) };
    case "soa":
      return {
        ...data,
        primary: restore(data.primary, mixed),
        mailbox: restore(data.mailbox, mixed),
      };
    case "srv":
      return { ...data, target: restore(data.target, mixed) };
    default:
      return data;
  }
}

// The longest end of the name, from a label on, that is spelled as in `mixed`.
function restore(name: Name, mixed: Name): Name {
  for (let at = 0; at < name.length - 1; at += 1 + name.charCodeAt(at)) {
    const end = name.slice(at);
    if (mixed.endsWith(end)) return brandName(name.slice(0, at) + foldName(brandName(end)));
  }
  return name;
}
