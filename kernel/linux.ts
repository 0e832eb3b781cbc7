import { Protocol } from "netlink/dist/constants.js";
import { KernelError } from "../core/error.ts";
import { delegateTo } from "./delegate.ts";
import type { Kernel, Sandbox } from "./kernel.ts";
import { LinuxNamespace } from "./namespace.ts";
import { type NamespaceHandle, openNamespace, openOwnNamespace, runInNamespace } from "./netns.ts";
import { type NetlinkOptions, type NetlinkSocket, openNetlink } from "./netlink.ts";
import { Reaper } from "./reaper.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";
import { watchSocket, watchedGroups } from "./watch.ts";

export interface KernelOptions {
  /** Path of the network namespace's file. Default: the calling thread's own. */
  readonly namespace?: string;
}

/** Room for the failures of a whole chunk, and for the notifications of a large change. */
const bufferOctets = 4 << 20;

/** Linux itself. */
export function openKernel(options: KernelOptions = {}): Kernel {
  using stack = new DisposableStack();
  const home = stack.use(
    options.namespace === undefined ? openOwnNamespace() : openNamespace(options.namespace),
  );
  const inside = <T>(work: () => T): T => runInNamespace(home, work);
  const openSocket = (options: NetlinkOptions = {}): NetlinkSocket =>
    inside(() => openNetlink(Protocol.ROUTE, { bufferOctets, ...options }));
  const network = new LinuxNamespace(stack.use(openSocket()));
  const reaper = stack.use(new Reaper(openSocket()));
  const owned = stack.move();
  return {
    identity: home.identity,
    ...delegateTo(network),
    openSandbox,
    reap: (devices) => reaper.reap(devices),
    // nf_tables comes next; until then it is refused as a kernel without it would.
    observeNft: () => refuseNft(),
    applyNft: () => refuseNft(),
    removeNft: () => refuseNft(),
    readSysctl: (name) => inside(() => readSysctl(name)),
    writeSysctl: (name, value) => inside(() => writeSysctl(name, value)),
    watch: (onChange) => watchSocket(openSocket({ groups: watchedGroups }), onChange),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function refuseNft(): never {
  throw new KernelError("talk to nf_tables", "EPROTONOSUPPORT");
}

function openSandbox(path: string): Sandbox {
  using stack = new DisposableStack();
  const namespace: NamespaceHandle = stack.use(openNamespace(path));
  const socket = stack.use(runInNamespace(namespace, () => openNetlink(Protocol.ROUTE)));
  const network = new LinuxNamespace(socket);
  const owned = stack.move();
  return {
    fd: namespace.fd,
    identity: namespace.identity,
    ...delegateTo(network),
    writeSysctl: (name, value) => runInNamespace(namespace, () => writeSysctl(name, value)),
    [Symbol.dispose]: () => owned.dispose(),
  };
}
