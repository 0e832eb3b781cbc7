// Notifications of settings and of the nftables table, which only Linux gives.
import { mkdtempDisposableSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { desireNftTable } from "../../core/desired/masquerade.ts";
import { openKernel } from "../../kernel/linux.ts";
import { cidr, ifName } from "../support/builders.ts";
import { kernels, overlayChanges, type Scene } from "./kernels.ts";

const [, openScene] = kernels[1]!;
let scene: Scene;
beforeEach(() => {
  scene = openScene();
});
afterEach(() => scene[Symbol.dispose]());

const table = desireNftTable({
  podCidrs: [cidr("10.244.1.0/24")],
  clusterCidrs: [cidr("10.244.0.0/16")],
  isEnabled: true,
  except: [],
});

/** What was told of since the last call. */
function watched() {
  const told: string[] = [];
  const watch = scene.kernel.watch(({ objects }) => told.push(...objects));
  return { told, take: () => told.splice(0), [Symbol.dispose]: () => watch[Symbol.dispose]() };
}

test("tells of the table when somebody else has changed it", async () => {
  scene.kernel.applyNft(table);
  using watch = watched();
  for (const command of [
    "add rule inet fairlead postrouting counter",
    "delete element inet fairlead inside4 { 224.0.0.0/4 }",
    "flush chain inet fairlead postrouting",
    "delete table inet fairlead",
  ]) {
    scene.run!("nft", command);
    await expect.poll(watch.take, { message: command }).toEqual(["nftables"]);
  }
  using other = openKernel({ namespace: scene.path! });
  other.applyNft(table);
  await expect.poll(watch.take).toEqual(["nftables"]);
});

test("says nothing of what it changed itself, nor of other tables", async () => {
  using watch = watched();
  scene.kernel.applyNft(table);
  scene.run!("nft", "add table inet other; add chain inet other c; add table ip fairlead");
  scene.kernel.removeNft(table.name);
  await setTimeout(100);
  expect(watch.take()).toEqual([]);
});

test("tells of it after a ruleset too large for its socket", async () => {
  using watch = watched();
  const elements = Array.from(
    { length: 150_000 },
    (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
  );
  using directory = mkdtempDisposableSync(join(tmpdir(), "fairlead-nft-"));
  const script = join(directory.path, "ruleset");
  const set = `set s { type ipv4_addr; elements = { ${elements.join(",")} }; }`;
  writeFileSync(script, `table inet other { ${set}; }\n`);
  scene.run!("nft", "-f", script);
  await expect.poll(watch.take).toContain("nftables");
});

test("tells of forwarding, also a device's, and of its filter, and not of new devices", async () => {
  scene.kernel.apply(overlayChanges);
  using watch = watched();
  await setTimeout(50);
  watch.take();
  for (const setting of [
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=1",
    "net.ipv4.conf.fl-vxlan.rp_filter=1",
    "net.ipv4.conf.fl-vxlan.forwarding=0",
    "net.ipv4.conf.default.forwarding=0",
  ]) {
    scene.run!("sysctl", "-qw", setting);
    await expect.poll(() => watch.told, { message: setting }).toContain("sysctl");
    await setTimeout(20);
    watch.take();
  }
  scene.addUnderlay(ifName("x0"));
  await setTimeout(50);
  expect(watch.take()).not.toContain("sysctl");
});

test("tells somebody else of the filter of a device that is apart, by its name", async () => {
  scene.kernel.apply(overlayChanges);
  scene.addUnderlay(ifName("x0"));
  const [main, apart]: string[][] = [[], []];
  using _ = scene.kernel.watch(({ objects }) => main!.push(...objects), {
    apart: {
      includes: (device) => device === "x0",
      onChange: ({ objects, devices }) => {
        if (objects.has("sysctl")) apart!.push(...devices);
      },
    },
  });
  scene.run!("sysctl", "-qw", "net.ipv4.conf.x0.rp_filter=2");
  await expect.poll(() => apart).toEqual(["x0"]);
  expect(main).not.toContain("sysctl");
});
