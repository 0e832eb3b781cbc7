// The files that a runtime makes for a pod, and the object that the cluster gets of it.
import { stringify } from "yaml";
import type { AddResult } from "./runtime.ts";

/** resolv.conf(5) of a result's `dns`. */
export function formatResolvConf({
  nameservers,
  domain,
  search,
  options,
}: AddResult["dns"]): string {
  const lines = [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(search.length > 0 ? [`search ${search.join(" ")}`] : []),
    ...(search.length === 0 && domain !== undefined ? [`domain ${domain}`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** hosts(5), as kubelet writes it. */
export const formatHosts = (name: string, addresses: readonly string[]): string =>
  ["127.0.0.1\tlocalhost", "::1\tlocalhost", ...addresses.map((address) => `${address}\t${name}`)]
    .map((line) => `${line}\n`)
    .join("");

export interface PodFacts {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly node: string;
  readonly addresses: readonly string[];
}

/** The Pod object as the API server would have it once the pod runs. */
export const formatPodManifest = ({ namespace, name, labels, node, addresses }: PodFacts): string =>
  stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, labels },
    spec: { nodeName: node },
    status: { podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) },
  });
