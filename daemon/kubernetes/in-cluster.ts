// Access to the API from a pod: its service account, which the kubelet mounts and rotates ("Accessing the
// Kubernetes API from a Pod").
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigError } from "../../core/error.ts";
import type { ApiAccess } from "./access.ts";

export const serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Throws ConfigError where this is no pod. */
export function inClusterAccess(
  env: Readonly<Record<string, string | undefined>>,
  directory = serviceAccountDirectory,
): ApiAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  const token = join(directory, "token");
  if (host === undefined || port === undefined || !existsSync(token)) {
    throw new ConfigError(
      "cluster.kubernetes",
      `Cannot reach the API: this is no pod (KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and ${token} are not all there): expected cluster.kubernetes.kubeconfig`,
    );
  }
  const name = host.includes(":") ? `[${host}]` : host;
  return {
    where: "the pod's service account",
    server: `https://${name}:${port}`,
    isInsecure: false,
    ca: { kind: "file", path: join(directory, "ca.crt") },
    token: { kind: "file", path: token },
  };
}
