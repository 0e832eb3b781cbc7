// What fairlead owns in the kernel, known by name, number and alias alone (core/names.ts), so that it can be
// found without any memory of what was made.
import { isForeignDevice } from "../core/diff.ts";
import { formatChange } from "../core/format-change.ts";
import type { Change } from "../core/network.ts";
import { isPodHostInterface, nftTableName, routeProtocol, vxlanDevice } from "../core/names.ts";
import type { Kernel } from "../kernel/kernel.ts";

/** Removes all of it; returns each removal as `ip` would say it. */
export async function removeKernelObjects(kernel: Kernel): Promise<string[]> {
  const routes = kernel
    .routes({ protocol: routeProtocol })
    .map((route): Change => ({ kind: "remove-route", route }));
  const links = kernel.links();
  const pods = links.map(({ name }) => name).filter(isPodHostInterface);
  const overlay = links
    .filter((link) => link.name === vxlanDevice && !isForeignDevice({ vxlan: undefined }, link))
    .map(({ name }): Change => ({ kind: "remove-link", device: name }));
  const changes = [...routes, ...overlay];
  kernel.apply(changes);
  await kernel.reap(pods);
  const hadTable = kernel.observeNft(nftTableName) !== undefined;
  kernel.removeNft(nftTableName);
  return [
    ...changes.map(formatChange),
    ...pods.map((device) => formatChange({ kind: "remove-link", device })),
    ...(hadTable ? [`nft delete table inet ${nftTableName}`] : []),
  ];
}
