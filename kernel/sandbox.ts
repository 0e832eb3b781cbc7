import { Protocol } from "netlink/dist/constants.js";
import { delegateTo } from "./delegate.ts";
import type { Sandbox } from "./kernel.ts";
import { LinuxNamespace } from "./namespace.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { type NamespaceHandle, openNamespace, runInNamespace } from "./netns.ts";
import { openNetlink } from "./open-netlink.ts";
import { writeSysctl } from "./sysctl.ts";

/**
 * A pod's namespace, as Kernel.openSandbox has it. Its socket is opened when something is first asked of
 * it: a request that another thread serves asks nothing.
 */
export function openSandbox(path: string): Sandbox {
  const namespace: NamespaceHandle = openNamespace(path);
  let socket: NetlinkSocket | undefined;
  const network = new LinuxNamespace(
    () => (socket ??= runInNamespace(namespace, () => openNetlink(Protocol.ROUTE))),
  );
  return {
    fd: namespace.fd,
    identity: namespace.identity,
    ...delegateTo(network),
    writeSysctl: (name, value) => runInNamespace(namespace, () => writeSysctl(name, value)),
    [Symbol.dispose]: () => {
      socket?.[Symbol.dispose]();
      namespace[Symbol.dispose]();
    },
  };
}
