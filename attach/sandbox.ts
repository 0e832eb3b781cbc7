import { CniCode, CniError } from "../core/cni/error.ts";
import type { AttachmentRequest } from "../core/cni/types.ts";
import { KernelError, hasErrno } from "../core/error.ts";
import type { Kernel, NamespaceIdentity, Sandbox } from "../kernel/kernel.ts";

/**
 * The request's sandbox. Throws CniError invalidEnvironment when CNI_NETNS names none, and
 * invalidNetns when it is the node's own namespace: nothing may be done there (a recycled
 * `/proc/<pid>/ns/net` can be the host's).
 */
export function openRequestedSandbox(kernel: Kernel, request: AttachmentRequest): Sandbox {
  const { netns, netnsFile, environment } = request;
  const sandbox = openNamed(kernel, netns, netnsFile);
  if (!isSameNamespace(sandbox.identity, kernel.identity)) return sandbox;
  if (/^(1|true)$/i.test(environment["CNI_NETNS_OVERRIDE"] ?? "")) return sandbox;
  sandbox[Symbol.dispose]();
  throw new CniError(
    CniCode.invalidNetns,
    `Invalid CNI_NETNS "${netns}": it is the node's own network namespace, expected a sandbox's`,
  );
}

export const isSameNamespace = (a: NamespaceIdentity, b: NamespaceIdentity): boolean =>
  a.device === b.device && a.inode === b.inode;

function openNamed(kernel: Kernel, netns: string, netnsFile = netns): Sandbox {
  try {
    return kernel.openSandbox(netnsFile);
  } catch (cause) {
    if (!(cause instanceof KernelError)) throw cause;
    const problem = hasErrno(cause, "ENOENT")
      ? "it does not exist"
      : hasErrno(cause, "EINVAL")
        ? "it is no network namespace"
        : cause.errno;
    // Without the cause: it names the file, which is not what the runtime gave where the daemon
    // serves, and the answer must be the same with and without one.
    throw new CniError(CniCode.invalidEnvironment, `Cannot open CNI_NETNS "${netns}": ${problem}`);
  }
}
