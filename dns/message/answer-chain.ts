import { type Question, RecordType, type ResourceRecord } from "./message.ts";
import { foldName, labelsWithin, type Name } from "./name.ts";

/** A chain that is longer is cut: BIND follows 16. */
const maxLinks = 16;

/**
 * What of an upstream's answer section answers the question: the CNAMEs in their order, on which glibc
 * relies, then the records of the last name. The rest is left out: an upstream, or who forges its
 * answers, must not bring in what nobody asked (RFC 5452 section 6).
 */
export function answerChain(
  question: Question,
  section: readonly ResourceRecord[],
): readonly ResourceRecord[] {
  const chain = new Set<ResourceRecord>();
  let name = foldName(question.name);
  for (let links = 0; links <= maxLinks; links++) {
    const here = section.filter(
      (record) => record.class === question.class && isPartOf(question.type, name, record),
    );
    for (const record of here) chain.add(record);
    const link = here.find(({ type }) => type === RecordType.CNAME);
    if (here.some(({ type }) => type === question.type) || link?.data.kind !== "name") break;
    name = foldName(link.data.name);
  }
  return [...chain];
}

/** The name at the end of a chain, folded. */
export function lastNameOf(question: Question, chain: readonly ResourceRecord[]): Name {
  if (question.type === RecordType.CNAME) return foldName(question.name);
  const link = chain.findLast(({ type }) => type === RecordType.CNAME);
  return foldName(link?.data.kind === "name" ? link.data.name : question.name);
}

function isPartOf(asked: number, name: Name, { name: owner, type }: ResourceRecord): boolean {
  // RFC 6672: a DNAME stands above the name, with the CNAME made from it beside.
  if (type === RecordType.DNAME && asked !== RecordType.DNAME) {
    return labelsWithin(name, foldName(owner)) !== undefined;
  }
  const isWanted = type === asked || type === RecordType.CNAME || type === RecordType.RRSIG;
  return isWanted && foldName(owner) === name;
}

/** The SOA among the authorities, of a zone that the name is in. */
export const soaFor = (
  name: Name,
  authorities: readonly ResourceRecord[],
): ResourceRecord | undefined =>
  authorities.find(
    ({ name: zone, type }) =>
      type === RecordType.SOA && labelsWithin(name, foldName(zone)) !== undefined,
  );
