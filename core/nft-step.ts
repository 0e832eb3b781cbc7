// What an altered nftables table was like and what was done about it, in words for log and status.

/** One thing that was done to a table, and what was found that is not as desired: "add set a", "no set a". */
export interface NftStep {
  readonly done: string;
  readonly found: string;
}

const named = 3;

/** Each thing once, the first few by name. */
export const formatNftSteps = (steps: readonly NftStep[]): NftStep => ({
  done: firstOf(steps.map(({ done }) => done)),
  found: firstOf(steps.map(({ found }) => found)),
});

function firstOf(words: readonly string[]): string {
  const all = [...new Set(words)];
  const first = all.slice(0, named).join(", ");
  return all.length > named ? `${first} and ${all.length - named} more` : first;
}
