// Options of a network device, by the words of iproute2 and ethtool: a device of ours is as the kernel makes it,
// but for those that are wanted otherwise.

/** An option and its value: switches are 0 or 1, sizes octets, times seconds, devices indexes. */
export interface DeviceOption {
  /** Whose option it is: of any device, or of VXLAN devices; a feature is an offload of a device. */
  readonly of: "link" | "vxlan" | "feature";
  readonly word: string;
  readonly value: number;
}

/** One that is not as the kernel makes it. */
export interface AlteredOption extends DeviceOption {
  /** Of a device that is new. */
  readonly usual: number;
  /** The kernel changes it on no device that exists. */
  readonly isFixed: boolean;
}

/** Where checksums of what travels in the tunnel are made: absent or on, by what sends the packets on. */
export const checksumOffloadOff: AlteredOption = {
  of: "feature",
  word: "tx-checksum-ip-generic",
  value: 0,
  usual: 1,
  isFixed: false,
};

/** What is to be set where these are wanted and those are there: each to its value, or as usual. */
export const optionsToSet = (
  wanted: readonly AlteredOption[],
  there: readonly AlteredOption[],
): readonly AlteredOption[] => [
  ...there
    .filter((option) => !wanted.some(({ word }) => word === option.word))
    .map((option) => ({ ...option, value: option.usual })),
  ...wanted.filter(
    ({ word, value }) => !there.some((option) => option.word === word && option.value === value),
  ),
];

/** RFC 2863, section 3.1.14 */
const states = new Map([
  [4, "testing"],
  [5, "dormant"],
  [6, "up"],
]);
const switches = new Set(["arp", "multicast", "allmulticast", "promisc", "protodown"]);

/** As `ip link set` or `ethtool -K` takes it, but for an address: that there is one says enough. */
export function formatOption({ of, word, value }: DeviceOption): string {
  if (of === "feature" || switches.has(word)) return `${word} ${value === 0 ? "off" : "on"}`;
  if (word === "mode") return `mode ${value === 0 ? "default" : "dormant"}`;
  if (word === "state") return `state ${states.get(value) ?? value}`;
  if (word === "master") return value === 0 ? "nomaster" : `master if${value}`;
  if (word === "remote" || word === "remote6") return value === 0 ? "remote any" : "remote there";
  return `${word} ${value}`;
}
