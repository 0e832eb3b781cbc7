/** A pod, as Kubernetes names it. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** Who the pod is, where the runtime says so in CNI_ARGS in Kubernetes' words. */
export function podNameOf(args: ReadonlyMap<string, string>): PodName | undefined {
  const namespace = args.get("K8S_POD_NAMESPACE") ?? "";
  const name = args.get("K8S_POD_NAME") ?? "";
  return isName(namespace) && isName(name) ? { namespace, name } : undefined;
}

const isName = (text: string): boolean => /^[a-z0-9][a-z0-9.-]{0,252}$/.test(text);
