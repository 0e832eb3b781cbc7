// What only Linux can show of a VXLAN device and of the ways to where its tunnels end.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FlagsNew, Protocol } from "netlink/dist/constants.js";
import { MessageType } from "netlink/dist/rt/gen_structs.js";
import { batchOf } from "../../kernel/message.ts";
import { openNamespace, runInNamespace } from "../../kernel/netns.ts";
import { openNetlink } from "../../kernel/open-netlink.ts";
import { ifName, ip, mac } from "../support/builders.ts";
import type { KernelEvent } from "../../kernel/kernel.ts";
import { type Scene, failureOf, kernels, overlay, overlayChanges } from "./kernels.ts";

const [, openScene] = kernels[1]!;

describe("options of a VXLAN device", () => {
  let scene: Scene;
  const underlay = ifName("u0");
  beforeEach(() => {
    scene = openScene();
    scene.addUnderlay(underlay);
    scene.kernel.apply(overlayChanges);
  });
  afterEach(() => scene[Symbol.dispose]());

  const putRight = (): void => {
    const options = scene.kernel
      .link(overlay)
      ?.altered?.map((one) => ({ ...one, value: one.usual }));
    scene.kernel.apply([{ kind: "set-link", device: overlay, settings: { options: options! } }]);
  };

  test("are none on one that the kernel has just made", () => {
    expect(scene.kernel.link(overlay)?.altered).toBeUndefined();
    const six = ifName("six");
    const vxlan = { vni: 8, port: 4790, local: ip("2001:db8::1"), learning: false };
    scene.kernel.apply([
      { kind: "add-vxlan", name: six, mac: mac("02:00:00:00:01:02"), mtu: 1430, vxlan },
    ]);
    expect(scene.kernel.link(six)?.altered).toBeUndefined();
  });

  test.each([
    ["txqueuelen 500", "txqueuelen", 500],
    ["arp off", "arp", 0],
    ["multicast off", "multicast", 0],
    ["allmulticast on", "allmulticast", 1],
    ["promisc on", "promisc", 1],
    ["protodown on", "protodown", 1],
    ["mode dormant", "mode", 1],
    ["mode dormant state dormant", "state", 5],
    ["state testing", "state", 4],
    ["protodown_reason 3 on", "protodown_reason", 8],
    ["protodown on protodown_reason 3 on", "protodown", 1],
    ["gso_max_size 20000", "gso_max_size", 20_000],
    ["gso_max_segs 10", "gso_max_segs", 10],
    ["gro_max_size 20000", "gro_max_size", 20_000],
    ["type vxlan id 7 ttl 5", "ttl", 5],
    ["type vxlan id 7 tos 8", "tos", 8],
    ["type vxlan id 7 ageing 100", "ageing", 100],
    ["type vxlan id 7 df set", "df", 1],
    ["type vxlan id 7 remote 192.0.2.9", "remote", 1],
  ])("are told and put right in place: %s", (words, word, value) => {
    const { kernel, run } = scene;
    const before = kernel.link(overlay);
    run!("ip", "link", "set", "dev", overlay, ...words.split(" "));
    expect(kernel.link(overlay)?.altered).toContainEqual(
      expect.objectContaining({ word, value, isFixed: false }),
    );
    putRight();
    expect(kernel.link(overlay)).toEqual(before);
  });

  test.each([
    ["rx-gro", 0],
    ["tx-checksum-ip-generic", 0],
    ["tx-generic-segmentation", 0],
    ["tx-tcp-segmentation", 0],
    ["rx-udp-gro-forwarding", 1],
    ["rx-gro-list", 1],
  ])("are told and put right in place: offload %s %d", async (word, value) => {
    const { kernel } = scene;
    const before = kernel.link(overlay);
    const events: KernelEvent[] = [];
    using _ = kernel.watch((event) => void events.push(event));
    const option = { of: "feature", word, value, usual: 1 - value, isFixed: false } as const;
    kernel.apply([{ kind: "set-link", device: overlay, settings: { options: [option] } }]);
    expect(kernel.link(overlay)).toEqual({ ...before, altered: [option] });
    // As another option of a device: that there is no event of ethtool's own to wait for.
    await expect.poll(() => events.flatMap(({ devices }) => [...devices])).toContain(overlay);
    putRight();
    expect(kernel.link(overlay)).toEqual(before);
  });

  test("are refused by name where there is no such offload", () => {
    const option = {
      of: "feature",
      word: "tx-nothing",
      value: 1,
      usual: 0,
      isFixed: false,
    } as const;
    const change = { kind: "set-link", device: overlay, settings: { options: [option] } } as const;
    expect(failureOf(() => scene.kernel.apply([change]))?.message).toMatch(
      /^Cannot apply "ethtool -K fl-vxlan tx-nothing on": EOPNOTSUPP/,
    );
  });

  test("are told of a device that is another one's port, which is let go", () => {
    const { kernel, run } = scene;
    const before = kernel.link(overlay);
    run!("ip", "link", "add", "br7", "type", "bridge");
    run!("ip", "link", "set", overlay, "master", "br7");
    expect(kernel.link(overlay)?.altered?.map(({ word }) => word)).toEqual(["master"]);
    putRight();
    expect(kernel.link(overlay)).toEqual(before);
  });

  test.each(["proxy", "l2miss", "rsc", "noudpcsum", "udp6zerocsumtx", "gbp", "maxaddress 9"])(
    "are told of one that was made with %s, which the kernel does not change",
    (words) => {
      const made = `link add x7 type vxlan id 9 dstport 4799 local 192.0.2.1 nolearning ${words}`;
      scene.run!("ip", ...made.split(" "));
      const [option, ...others] = scene.kernel.link(ifName("x7"))?.altered ?? [];
      expect(others).toEqual([]);
      expect(option).toMatchObject({ word: words.replace(/^no| .*$/g, ""), isFixed: true });
    },
  );

  test("are put right in one change with all else of the device", () => {
    const { kernel, run } = scene;
    const before = kernel.link(overlay)!;
    for (const words of [
      "type vxlan id 7 local 192.0.2.9 ttl 9",
      "mtu 1300 txqueuelen 500 group 7 alias stolen",
      "down",
      "address 02:00:00:00:00:99",
    ]) {
      run!("ip", "link", "set", "dev", overlay, ...words.split(" "));
    }
    const { mtu, mac: address, alias = "", group, isUp, vxlan } = before;
    const options = kernel.link(overlay)!.altered!.map((one) => ({ ...one, value: one.usual }));
    const settings = { mtu, mac: address!, alias, group, isUp, vxlan: vxlan!, options };
    kernel.apply([{ kind: "set-link", device: overlay, settings }]);
    const { alias: left = "", ...after } = kernel.link(overlay)!;
    expect({ ...after, alias: left }).toEqual({ ...before, alias });
  });

  test("leave the rest as it is when source, underlay and learning are changed in place", () => {
    const { kernel } = scene;
    const before = kernel.link(overlay)!;
    const vxlan = {
      ...before.vxlan!,
      local: ip("192.0.2.2"),
      underlayIndex: kernel.link(underlay)!.index,
      learning: true,
    };
    kernel.apply([{ kind: "set-link", device: overlay, settings: { vxlan } }]);
    const { underlayIndex } = vxlan;
    expect(kernel.link(overlay)).toEqual({ ...before, vxlan, linkIndex: underlayIndex });
  });
});

test("a route leads to an address by an interface, or none does", () => {
  using scene = openScene();
  const { kernel, run } = scene;
  const [near, other] = [ifName("n0"), ifName("o0")];
  for (const name of [near, other]) scene.addUnderlay(name);
  const [index, otherIndex] = [kernel.link(near)!.index, kernel.link(other)!.index];
  const add = (...words: string[]): void => void run!("ip", ...words);
  add("address", "add", "172.30.1.11/24", "dev", near);
  add("address", "add", "2001:db8:1::11/64", "dev", near, "nodad");
  for (const [away, router] of [
    [ip("172.30.2.13"), "172.30.1.1"],
    [ip("2001:db8:2::13"), "2001:db8:1::1"],
  ] as const) {
    expect(kernel.isRouted(away, index)).toBe(false);
    add("route", "add", "default", "via", router, "dev", near);
    expect(kernel.isRouted(away, index)).toBe(true);
    expect(kernel.isRouted(away, otherIndex)).toBe(false);
  }
  add("route", "add", "unreachable", "172.30.2.13");
  expect(kernel.isRouted(ip("172.30.2.13"), index)).toBe(false);
  expect(kernel.isRouted(ip("172.30.1.12"), index)).toBe(true);
  expect(kernel.isRouted(ip("2001:db8:1::12"), index)).toBe(true);
});

// A kernel without VXLAN cannot be had here: one without another type of device answers the same.
test("a type of device that the kernel does not have is refused in the words that the daemon goes by", () => {
  using scene = openScene();
  using namespace = openNamespace(scene.path!);
  using socket = runInNamespace(namespace, () => openNetlink(Protocol.ROUTE));
  const request = batchOf((batch) =>
    batch.message(MessageType.NEWLINK, FlagsNew.CREATE | FlagsNew.EXCL, () => {
      batch.u32(0).u32(0).u32(0).u32(0).attributeText(iflaName, "x0");
      batch.nested(iflaInfo, () => batch.attributeText(infoKind, "nothing"));
    }),
  );
  expect(socket.send(request)).toEqual([
    { index: 0, errno: "EOPNOTSUPP", kernelMessage: "Unknown device type" },
  ]);
});

/** <linux/if_link.h> */
const [iflaName, iflaInfo, infoKind] = [3, 18, 1];
