// One request to the IPAM plugin's handlers, from its environment and input to what it prints.
import { expect } from "vitest";
import { dispatch } from "../../core/cni/dispatch.ts";
import { CniCode, CniError } from "../../core/cni/error.ts";
import type { CniReply } from "../../core/cni/types.ts";
import { type Log, silentLog } from "../../core/log.ts";
import type { RangeFacts } from "../../ipam/assign.ts";
import { createIpamHandlers } from "../../ipam/handlers.ts";
import { type DataDir, never } from "./lease-directory.ts";

export interface IpamCall {
  readonly command?: string;
  readonly container?: string;
  readonly args?: string;
  readonly netns?: string;
  /** Keys of the configuration beside `ipam`. */
  readonly conf?: object;
  readonly ipam?: object | undefined;
  readonly facts?: () => RangeFacts;
}

export const noFacts = (): RangeFacts => {
  throw new CniError(CniCode.tryAgainLater, "no daemon");
};

export function callIpam(
  data: DataDir,
  given: IpamCall,
  warn: (message: string) => void = () => {},
) {
  const { command = "ADD", container = "dummy", args = "" } = given;
  const log: Log = { ...silentLog, warn: (_fields, message) => warn(message) };
  const handlers = createIpamHandlers({ ipam: data.open(), facts: given.facts ?? noFacts, log });
  const conf = {
    cniVersion: "1.1.0",
    name: "mynet",
    type: "bridge",
    ...("ipam" in given && given.ipam === undefined
      ? {}
      : { ipam: { type: "fairlead-ipam", ...given.ipam } }),
    ...given.conf,
  };
  const environment = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container,
    CNI_IFNAME: "eth0",
    CNI_NETNS: given.netns ?? "/run/netns/x",
    CNI_PATH: "/usr/lib/cni",
    CNI_ARGS: args,
  };
  const readStdin = async (): Promise<string> => JSON.stringify(conf);
  return dispatch({ environment, readStdin, about: "", isIpam: true }, handlers, never);
}

export const printed = (reply: CniReply): Record<string, unknown> => JSON.parse(reply.stdout);
export const addressesOf = (reply: CniReply): string[] => {
  expect(reply).toMatchObject({ exitStatus: 0 });
  return (printed(reply)["ips"] as { address: string }[]).map(({ address }) => address);
};
export const set = (...subnets: readonly string[]) => subnets.map((subnet) => ({ subnet }));
