// What every Kernel promises of changes that another thread makes meanwhile.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KernelError } from "../../core/error.ts";
import { neighborKind } from "../../core/object-kind.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { ip, mac } from "../support/builders.ts";
import { createNamespace } from "../support/netns.ts";
import {
  addVeth,
  hostEnd,
  kernels,
  overlay,
  overlayChanges,
  podEnd,
  type Scene,
} from "./kernels.ts";

const neighbor = (last: number) => ({
  device: overlay,
  address: ip(`10.9.0.${last}`),
  mac: mac("02:00:00:00:00:05"),
  isPermanent: true,
});

describe.each(kernels)("%s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
  });
  afterEach(() => scene[Symbol.dispose]());

  test("all is there when it is finished, and others can be begun", async () => {
    using sandbox = kernel.openSandbox(scene.addSandbox());
    for (let round = 0; round < 3; round++) {
      const begun = kernel.begin([addVeth(sandbox.fd)]);
      await begun?.finish();
      expect(kernel.link(hostEnd.name)).toMatchObject({ index: hostEnd.index, isUp: false });
      expect(sandbox.link(podEnd.name)).toMatchObject({ index: podEnd.index });
      await begun?.finish();
      kernel.apply([{ kind: "remove-link", device: hostEnd.name }]);
    }
  });

  test("what fails is told to who finishes it, and not to who only disposes of it", async () => {
    kernel.apply(overlayChanges);
    using sandbox = kernel.openSandbox(scene.addSandbox());
    await kernel.begin([addVeth(sandbox.fd)])?.finish();
    const failure = await kernel
      .begin([addVeth(sandbox.fd)])
      ?.finish()
      .catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(KernelError);
    expect(failure).toMatchObject({ errno: "EEXIST" });
    await kernel.begin([addVeth(sandbox.fd)])?.[Symbol.asyncDispose]();
    await kernel.begin([neighborKind.put(neighbor(1))])?.finish();
    expect(kernel.neighbors(overlay)).toHaveLength(1);
  });

  test("other changes can be made meanwhile", async () => {
    kernel.apply(overlayChanges);
    using sandbox = kernel.openSandbox(scene.addSandbox());
    await using begun = kernel.begin([addVeth(sandbox.fd)]);
    kernel.apply([1, 2, 3].map((last) => neighborKind.put(neighbor(last))));
    expect(kernel.neighbors(overlay)).toHaveLength(3);
    expect(kernel.link(overlay)).toBeDefined();
    await begun?.finish();
    expect(kernel.link(hostEnd.name)).toBeDefined();
  });
});

test("Linux: nothing is begun while others are under way", async () => {
  using node = createNamespace();
  using kernel = openKernel({ namespace: node.path });
  kernel.apply(overlayChanges);
  const first = kernel.begin([neighborKind.put(neighbor(1))]);
  expect(first).toBeDefined();
  expect(kernel.begin([neighborKind.put(neighbor(2))])).toBeUndefined();
  await first?.finish();
  await kernel.begin([neighborKind.put(neighbor(2))])?.finish();
  expect(kernel.neighbors(overlay)).toHaveLength(2);
});

test("Linux: a kernel that is closed while others are under way lets them be finished", async () => {
  using node = createNamespace();
  const kernel = openKernel({ namespace: node.path });
  kernel.apply(overlayChanges);
  const begun = kernel.begin([neighborKind.put(neighbor(1))]);
  kernel[Symbol.dispose]();
  await begun?.finish();
  expect(() => kernel.begin([])).toThrow("EBADF");
  using other = openKernel({ namespace: node.path });
  expect(other.neighbors(overlay)).toHaveLength(1);
});
