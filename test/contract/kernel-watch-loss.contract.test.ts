// What the Linux kernel object tells after notifications did not fit the buffer that they wait in.
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Change } from "../../core/network.ts";
import type { KernelEvent } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ip, mac } from "../support/builders.ts";
import { aRoute, kernels, overlay, overlayChanges, type Scene } from "./kernels.ts";

const openScene = kernels[1]![1];
let scene: Scene;
beforeEach(() => {
  scene = openScene();
});
afterEach(() => scene[Symbol.dispose]());

test("a device of which was not told that it came is known all the same, and what is on it told", async () => {
  const somebody = scene.kernel;
  somebody.apply(overlayChanges);
  using kernel = openKernel({ namespace: scene.path!, watchOctets: 16_384 });
  const events: KernelEvent[] = [];
  using _ = kernel.watch((event) => void events.push(event));
  const many = Array.from({ length: 1000 }, (_, i): Change => {
    const route = aRoute(`10.9.${i >> 8}.${i & 255}/32`, overlay);
    return { kind: "add-route", route };
  });
  // Nobody reads meanwhile.
  somebody.apply(many);
  somebody.apply([{ kind: "remove-link", device: overlay }, ...overlayChanges]);
  await expect.poll(() => events.some(({ overflow }) => overflow)).toBe(true);
  const entry = {
    device: overlay,
    mac: mac("02:00:00:00:02:02"),
    destination: ip("192.0.2.2"),
    isPermanent: true,
  };
  somebody.apply([{ kind: "replace-fdb", entry }]);
  const told = () => events.flatMap(({ changes }) => (changes === "many" ? [] : changes));
  await expect.poll(told).toContainEqual({ kind: "fdb", item: entry });
});
