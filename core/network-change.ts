import type { Ip } from "./address.ts";
import type { IfName } from "./names.ts";
import type { FdbEntry, Neighbor, Route } from "./network.ts";

/** An object of the kernel, as a notification tells of it: there, new or altered, or gone. */
export type ObjectChange =
  | { readonly kind: "neighbor"; readonly item: Neighbor }
  | { readonly kind: "fdb"; readonly item: FdbEntry }
  | { readonly kind: "route"; readonly item: Route }
  | {
      readonly kind: "neighbor-gone";
      readonly item: { readonly device: IfName; readonly address: Ip };
    }
  | { readonly kind: "fdb-gone"; readonly item: FdbEntry }
  | { readonly kind: "route-gone"; readonly item: Route };
