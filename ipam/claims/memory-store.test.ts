import { describeClaimStore } from "../../test/support/claim-store-contract.ts";
import { ClaimMap, memoryStore } from "./memory-store.ts";

describeClaimStore("a map in memory", () => {
  const map = new ClaimMap();
  return { open: () => memoryStore(map) };
});
