import type { NetworkNamespace } from "./kernel.ts";

/** The namespace's own calls, to be spread into an object that offers more. */
export const delegateTo = (namespace: NetworkNamespace): NetworkNamespace => ({
  apply: (changes) => namespace.apply(changes),
  links: () => namespace.links(),
  link: (name) => namespace.link(name),
  isRunning: (device) => namespace.isRunning(device),
  addresses: (device) => namespace.addresses(device),
  routes: (filter, known) => namespace.routes(filter, known),
  isRouted: (address, index) => namespace.isRouted(address, index),
  neighbors: (device, known) => namespace.neighbors(device, known),
  fdb: (device, known) => namespace.fdb(device, known),
  shaping: (device) => namespace.shaping(device),
});
