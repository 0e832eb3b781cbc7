// Where the Kubernetes API is, and by what it is asked: what a kubeconfig or a pod's service account says.

/** Files are read again at each request: whoever rotates them need not tell. */
export type Material =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "text"; readonly text: string };

export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What to do where the command is missing; from the kubeconfig. */
  readonly installHint?: string;
  /** The plugin is told about the cluster. */
  readonly provideClusterInfo: boolean;
}

export interface ApiAccess {
  /** For an operator: the kubeconfig's path, or that it is the pod's service account. */
  readonly where: string;
  /** Without a slash at its end. */
  readonly server: string;
  /** Of the server's certificate; absent: the machine's authorities. */
  readonly ca?: Material;
  /** Instead of the name in `server`. */
  readonly serverName?: string;
  readonly isInsecure: boolean;
  readonly token?: Material;
  readonly certificate?: { readonly cert: Material; readonly key: Material };
  readonly exec?: ExecPlugin;
}
