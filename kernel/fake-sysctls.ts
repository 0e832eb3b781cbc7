import { KernelError } from "../core/error.ts";
import { sysctlPath } from "./sysctl.ts";

/** The settings that fairlead reads or writes, with Linux's defaults in a new namespace. */
export class FakeSysctls {
  readonly #values = new Map([
    ["net/ipv4/ip_forward", "0"],
    ["net/ipv4/conf/all/rp_filter", "0"],
    ["net/ipv4/conf/default/rp_filter", "0"],
    ["net/ipv6/conf/all/forwarding", "0"],
    ["net/ipv6/conf/all/disable_ipv6", "0"],
    ["net/ipv6/conf/default/disable_ipv6", "0"],
  ]);

  read(name: string): string | undefined {
    const path = sysctlPath(name);
    // Every device has this one; which devices there are is not looked at.
    const isPerDevice = /^net\/ipv6\/conf\/[^/]+\/disable_ipv6$/.test(path);
    return this.#values.get(path) ?? (isPerDevice ? "0" : undefined);
  }

  write(name: string, value: string): void {
    const path = sysctlPath(name);
    if (this.read(name) === undefined) throw new KernelError(`write sysctl "${name}"`, "ENOENT");
    this.#values.set(path, value);
  }
}
