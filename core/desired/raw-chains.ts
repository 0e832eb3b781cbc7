// What every packet passes before it is tracked, one that comes through the tunnel three times on its way
// from pod to pod: one chain a hook, whoever has rules for it, because to run a chain costs more than a rule.
import type { NftChain, NftRule } from "../nft.ts";

const priority = -300;

/** What comes to the node: from pods, from outside, and out of the tunnel. */
export const rawIn = (rules: readonly NftRule[]): NftChain => ({
  name: "raw-in",
  hook: { type: "filter", hook: "prerouting", priority },
  rules,
});

/** What the node sends: the tunnel's packets too. */
export const rawOut = (rules: readonly NftRule[]): NftChain => ({
  name: "raw-out",
  hook: { type: "filter", hook: "output", priority },
  rules,
});
