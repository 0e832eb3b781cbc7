// What every Kernel promises of UDP flows.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hostPortTable, withHostPorts } from "../../core/desired/host-ports.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ip } from "../support/builders.ts";
import { type Scene, kernels } from "./kernels.ts";

describe.each(kernels)("UDP flows of %s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
    // Linux tracks connections only where a rule wants to know of them.
    kernel.applyNft(hostPortTable([]));
  });
  afterEach(() => scene[Symbol.dispose]());

  test.each(["127.0.0.1", "::1"])("are found by the port they were sent to: %s", (address) => {
    expect(kernel.udpFlows(7001)).toEqual([]);
    scene.sendUdp(address, 7001);
    scene.sendUdp(address, 7002);
    expect(kernel.udpFlows(7001)).toEqual([
      {
        source: address,
        sourcePort: expect.any(Number),
        destination: address,
        destinationPort: 7001,
        answerer: address,
        answererPort: 7001,
      },
    ]);
  });

  test.each([
    ["127.0.0.1", "127.0.0.2"],
    ["::1", "::2"],
  ])("tell whose they are: %s", (address, other) => {
    const [few, many] = [1, 9].map((count) =>
      [address, other].flatMap((one) => Array.from({ length: count }, () => ip(one))),
    );
    expect(kernel.trackedAmong(few!)).toEqual(new Set());
    scene.sendUdp(address, 7001);
    for (const asked of [few!, many!]) {
      expect(kernel.trackedAmong(asked)).toEqual(new Set([address]));
    }
    expect(kernel.trackedAmong([])).toEqual(new Set());
  });

  test("are forgotten, each by itself, and again without effect", () => {
    for (const address of ["127.0.0.1", "::1"]) scene.sendUdp(address, 7001);
    scene.sendUdp("127.0.0.1", 7002);
    const [first, second] = kernel.udpFlows(7001);
    kernel.forgetUdpFlows([first!]);
    expect(kernel.udpFlows(7001)).toEqual([second]);
    kernel.forgetUdpFlows([first!, second!]);
    expect(kernel.udpFlows(7001)).toEqual([]);
    expect(kernel.udpFlows(7002)).toHaveLength(1);
    kernel.forgetUdpFlows([]);
  });
});

test("a translated UDP flow of Linux names who answers", () => {
  const [, openScene] = kernels[1]!;
  using scene = openScene();
  const holder = {
    addresses: [ip("127.0.0.9")],
    portMappings: [{ protocol: "udp", hostPort: 7001, containerPort: 53 } as const],
  };
  scene.kernel.applyNft(withHostPorts(hostPortTable([]), [holder]));
  scene.sendUdp("127.0.0.1", 7001);
  expect(scene.kernel.udpFlows(7001)).toMatchObject([
    { destination: "127.0.0.1", answerer: "127.0.0.9", answererPort: 53 },
  ]);
  const asked = [ip("127.0.0.9"), ip("127.0.0.8")];
  expect(scene.kernel.trackedAmong(asked)).toEqual(new Set(["127.0.0.9"]));
});
