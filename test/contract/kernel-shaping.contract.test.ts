// What every Kernel promises of shaping. Each test runs against the fake and against Linux; with
// Linux, tc says the same.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Shaping } from "../../core/network.ts";
import { ifName } from "../support/builders.ts";
import { type Scene, failureOf, json, kernels } from "./kernels.ts";

const device = ifName("under0");
const largest = 2 ** 32 - 1;
const shape = (kernel: Kernel, shaping: Partial<Shaping>): void =>
  kernel.apply([
    {
      kind: "replace-shaping",
      shaping: { device, rate: 125_000, burst: 12_500, limit: 15_625, ...shaping },
    },
  ]);

describe.each(kernels)("%s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
    scene.addUnderlay(device);
  });
  afterEach(() => scene[Symbol.dispose]());

  test("a device has none by itself, nor has one that is not there", () => {
    expect(kernel.shaping(device)).toBeUndefined();
    kernel.apply([{ kind: "set-link", device, settings: { isUp: false } }]);
    expect(kernel.shaping(device)).toBeUndefined();
    expect(kernel.shaping(ifName("none0"))).toBeUndefined();
    expect(failureOf(() => shape(kernel, { device: ifName("none0") }))?.errno).toBe("ENODEV");
  });

  test.each([
    ["slow", { rate: 1_000, burst: 1_500, limit: 1_525 }],
    ["of 1 octet a second", { rate: 1, burst: 1_500, limit: 1_500 }],
    ["of 1 Gbit/s", { rate: 125_000_000, burst: 1_250_000, limit: 4_375_000 }],
    ["beyond 32 bits", { rate: 125_000_000_000, burst: 1_000_000, limit: largest }],
    ["with the largest burst", { rate: 12_500_000, burst: largest, limit: largest }],
  ])("one %s is as it was asked for", (_what, asked) => {
    shape(kernel, asked);
    const { burst, ...observed } = asked;
    expect(kernel.shaping(device)).toEqual({ device, ...observed });
    if (scene.run === undefined) return;
    // tc calculates the burst from a time in microseconds, of which the kernel's 32 bits wrap at 275 s.
    const [qdisc] = json(scene.run("tc", "-j", "qdisc", "show", "dev", device, "root"));
    expect(qdisc.kind).toBe("tbf");
    expect(qdisc.options.rate).toBe(asked.rate);
    if (burst / asked.rate < 200) {
      expect(Math.abs(qdisc.options.burst - burst)).toBeLessThanOrEqual(asked.rate / 1e6 + 1);
    }
  });

  test("asked for again it takes the place of the one before", () => {
    shape(kernel, {});
    shape(kernel, { rate: 250_000, limit: 18_750 });
    expect(kernel.shaping(device)).toEqual({ device, rate: 250_000, limit: 18_750 });
  });

  test("it goes with its device", () => {
    shape(kernel, {});
    kernel.apply([{ kind: "remove-link", device }]);
    expect(kernel.shaping(device)).toBeUndefined();
  });
});

test("a device that tc shapes otherwise is not taken for ours", () => {
  using scene = kernels[1]![1]();
  scene.addUnderlay(device);
  scene.run!("tc", "qdisc", "replace", "dev", device, "root", "pfifo", "limit", "10");
  expect(scene.kernel.shaping(device)).toBeUndefined();
});
