/**
 * What `nft list` prints, without elements that end by themselves: one that is put again each second is there
 * with what is left of its time, or not yet again.
 */
export const lastingRules = (listed: string): string =>
  listed.replaceAll(/^.*\bexpires\b.*\n/gm, "");
