// What every Kernel promises of changes by the thousand, written while the event loop goes on.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KernelError } from "../../core/error.ts";
import { neighborKind, routeKind } from "../../core/object-kind.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ifName, ip, mac } from "../support/builders.ts";
import { createNamespace } from "../support/netns.ts";
import { aRoute, kernels, overlay, overlayChanges, type Scene } from "./kernels.ts";

const neighbor = (index: number) => ({
  device: overlay,
  address: ip(`10.9.${index >> 8}.${index & 255}`),
  mac: mac("02:00:00:00:00:05"),
  isPermanent: true,
});
// More than two sends to the kernel.
const many = Array.from({ length: 5_000 }, (_, index) => neighbor(index));

describe.each(kernels)("%s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
    kernel.apply(overlayChanges);
  });
  afterEach(() => scene[Symbol.dispose]());

  test("all is there when it resolves, in the order of the calls", async () => {
    const gone = many.slice(-10);
    await Promise.all([
      kernel.applyOffLoop(many.map(neighborKind.put)),
      kernel.applyOffLoop(gone.map(neighborKind.remove)),
    ]);
    const found = new Set(kernel.neighbors(overlay).map(({ address }) => address));
    expect(found).toEqual(new Set(many.slice(0, -10).map(({ address }) => address)));
  });

  test("finds a device again that was made anew", async () => {
    await kernel.applyOffLoop(many.slice(0, 10).map(neighborKind.put));
    kernel.apply([{ kind: "remove-link", device: overlay }]);
    kernel.apply(overlayChanges);
    await kernel.applyOffLoop(many.slice(10, 30).map(neighborKind.put));
    expect(kernel.neighbors(overlay)).toHaveLength(20);
  });

  test("does what can be done, and names the first failure of all", async () => {
    const bad = { ...neighbor(70), device: ifName("none0") };
    const route = aRoute("10.99.0.0/24", overlay, { gateway: ip("203.0.113.9"), scope: "global" });
    const changes = many.map(neighborKind.put);
    changes.splice(4_000, 0, neighborKind.put(bad));
    changes.splice(3_000, 0, ...(scene.run === undefined ? [] : [routeKind.put(route)]));
    const failure = await kernel.applyOffLoop(changes).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(KernelError);
    const named = scene.run === undefined ? /none0/ : /10\.99\.0\.0\/24/;
    expect(String(failure)).toMatch(named);
    expect(kernel.neighbors(overlay)).toHaveLength(many.length);
    await kernel.applyOffLoop([neighborKind.remove(neighbor(0))]);
    expect(kernel.neighbors(overlay)).toHaveLength(many.length - 1);
  });

  test("a watch that is asked tells at once, held or not", () => {
    const told: string[] = [];
    using watch = kernel.watch(({ changes }) => {
      for (const { kind } of changes === "many" ? [] : changes) {
        if (kind === "neighbor") told.push(kind);
      }
    });
    watch.hold();
    kernel.apply(many.slice(0, 3).map(neighborKind.put));
    expect(told).toEqual([]);
    watch.read();
    expect(told).toEqual(["neighbor", "neighbor", "neighbor"]);
    watch.read();
    expect(told).toHaveLength(3);
  });

  test("a watch that leaves out one's own is not told of it", async () => {
    const told: string[] = [];
    using _watch = kernel.watch(
      ({ changes }) => {
        // The kernel's own routes of a device that is new come when they come.
        if (changes === "many") told.push("many");
        else told.push(...changes.flatMap(({ kind }) => (kind === "neighbor" ? [kind] : [])));
      },
      { isOwnLeftOut: scene.run !== undefined },
    );
    await kernel.applyOffLoop(many.slice(0, 100).map(neighborKind.put));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(told).toHaveLength(scene.run === undefined ? 100 : 0);
  });
});

test("Linux: a kernel that is closed while it writes finishes that, and refuses the rest", async () => {
  using node = createNamespace();
  const kernel = openKernel({ namespace: node.path });
  kernel.apply(overlayChanges);
  const written = kernel.applyOffLoop(many.map(neighborKind.put));
  kernel[Symbol.dispose]();
  await written;
  await expect(kernel.applyOffLoop([])).rejects.toThrow("EBADF");
  using other = openKernel({ namespace: node.path });
  expect(other.neighbors(overlay)).toHaveLength(many.length);
});
