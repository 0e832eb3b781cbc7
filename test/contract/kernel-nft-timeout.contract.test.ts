// What every Kernel promises of elements that the kernel takes out again by itself.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  dnsAheadElements,
  dnsAheadPart,
  dnsAheadTable,
  dnsElsewhereTable,
} from "../../core/desired/dns-ahead.ts";
import { desireNftTable } from "../../core/desired/masquerade.ts";
import { type NftTable, asObserved, joinTables } from "../../core/nft.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ifName, ip } from "../support/builders.ts";
import { type Scene, kernels } from "./kernels.ts";
import { expectTable, table } from "./nft-table.ts";

const services = [ip("10.96.0.10"), ip("fd00::a")];
const waiting = { timeout: 30_000, interval: 20 };

/** A table whose elements last for so long. */
const lasting = (timeoutMs: number): NftTable => {
  const { maps, ...rest } = dnsAheadTable;
  return { ...rest, maps: maps.map((map) => ({ ...map, timeoutMs })) };
};

describe.each(kernels)("elements with a timeout in %s", (name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
  });
  afterEach(() => scene[Symbol.dispose]());

  const elementsOf = (timeoutMs: number) =>
    dnsAheadElements(services).map((map) => ({ ...map, timeoutMs }));
  const put = (timeoutMs: number): void =>
    kernel.putNftElements({ ...lasting(timeoutMs), maps: elementsOf(timeoutMs) });
  const missing = (timeoutMs: number): number =>
    kernel.missingNftElements("fairlead", elementsOf(timeoutMs)).length;

  test("their table is as nft lists it", () => {
    const wanted = joinTables(joinTables(table, dnsElsewhereTable(services)), dnsAheadTable);
    kernel.applyNft(wanted);
    expectTable(scene, wanted);
    kernel.putNftElements(dnsAheadPart(services));
    expect(kernel.missingNftElements("fairlead", dnsAheadElements(services))).toEqual([]);
  });

  test("are no difference, and stay where the table is compared and changed", () => {
    kernel.applyNft(lasting(30_000));
    put(30_000);
    expect(missing(30_000)).toBe(0);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(lasting(30_000)));
    expect(kernel.applyNft(lasting(30_000))).toEqual([]);
    expect(kernel.applyNft({ ...lasting(30_000), chains: [] })).not.toEqual([]);
    expect(missing(30_000)).toBe(0);
  });

  test("without their table are put with all of it", () => {
    put(30_000);
    expect(missing(30_000)).toBe(0);
    expect(kernel.applyNft(lasting(30_000))).toEqual([]);
  });

  test("put without their table have the chains that others share alone until all is compared", () => {
    const tunnel = desireNftTable({
      podCidrs: [],
      clusterCidrs: [],
      isEnabled: false,
      except: [],
      tunnel: { underlay: ifName("lo"), index: 1, port: 4789 },
    });
    const wanted = joinTables(tunnel, lasting(30_000));
    kernel.applyNft(wanted);
    kernel.applyNft(tunnel);
    put(30_000);
    const rules = (): number | undefined =>
      kernel.observeNft("fairlead")?.chains.get("raw-in")?.length;
    expect(rules()).toBe(1);
    kernel.applyNft(wanted);
    expect(rules()).toBe(2);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(wanted));
    expect(missing(30_000)).toBe(0);
  });

  test("go when they are not put again, and at once when they are removed", async () => {
    put(500);
    expect(missing(500)).toBe(0);
    await vi.waitFor(() => expect(missing(500)).toBe(2), waiting);
    expect(kernel.applyNft(lasting(500))).toEqual([]);
    put(500);
    expect(missing(500)).toBe(0);
    kernel.removeNftElements("fairlead", elementsOf(500));
    expect(missing(500)).toBe(2);
  });

  test("stay for as long as they are put again", async () => {
    put(2_000);
    const untilMs = performance.now() + 3_000;
    while (performance.now() < untilMs) {
      await delay(50);
      put(2_000);
    }
    expect(missing(2_000)).toBe(0);
  });

  test.runIf(name === "Linux")("of another timeout, their table is made anew", () => {
    kernel.applyNft(lasting(500));
    expect(kernel.applyNft(lasting(30_000))).toContainEqual({
      done: "remove the table",
      found: "set dns-ahead4 of another type",
    });
    expectTable(scene, lasting(30_000));
  });

  test.runIf(name === "Linux")(
    "no packet finds one missing while it is put again",
    async () => {
      const { path, run } = scene;
      put(30_000);
      const rule = (...words: readonly string[]) => run!("nft", "add", ...words);
      const probe = ["inet", "fairlead", "probe"];
      run!("ip", "route", "add", "local", "10.96.0.10", "dev", "lo");
      rule("chain", ...probe, "{ type filter hook output priority -310; }");
      rule("rule", ...probe, "ip daddr 10.96.0.10", "counter");
      rule("rule", ...probe, "ip daddr 10.96.0.10", "ip daddr != @dns-ahead4", "counter");
      const counted = (): readonly number[] => {
        const listed = run!("nft", "list", "chain", ...probe);
        return Array.from(listed.matchAll(/packets (\d+)/g), ([, packets]) => Number(packets));
      };
      // Ends with its input, which ends with us.
      const sending =
        "while ! read -t 0 <&3; do echo x > /dev/udp/10.96.0.10/9; done 3<&0 2>/dev/null";
      const sender = spawn("nsenter", [`--net=${path}`, "bash", "-c", sending], {
        stdio: ["pipe", "ignore", "ignore"],
      });
      const giveUpAtMs = performance.now() + 40_000;
      while ((counted()[0] ?? 0) < 5_000 && performance.now() < giveUpAtMs) {
        for (let i = 0; i < 50; i++) put(30_000);
      }
      const ended = once(sender, "close");
      sender.stdin.end();
      await ended;
      const [sent, missed] = counted();
      expect(sent).toBeGreaterThanOrEqual(5_000);
      expect(missed).toBe(0);
    },
    60_000,
  );
});
