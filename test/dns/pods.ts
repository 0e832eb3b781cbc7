import type { PodEntry } from "../../dns/cluster/pod-book.ts";
import { ip } from "../support/builders.ts";

/** A pod of the namespace prod, with the search list that a kubelet gives it. */
export const aPod = (name: string, address: string, more: Partial<PodEntry> = {}): PodEntry => ({
  id: `id of ${name}`,
  network: "fairlead",
  addresses: [ip(address)],
  pod: { namespace: "prod", name },
  aliases: [],
  search: prodSearch,
  ...more,
});

export const prodSearch = {
  domains: ["prod.svc.cluster.local", "svc.cluster.local", "cluster.local"],
  ndots: 5,
};
