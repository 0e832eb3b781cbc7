import { expect, test } from "vitest";
import type { Finding } from "../../core/finding.ts";
import { neighborKind } from "../../core/object-kind.ts";
import { ifName, ip, mac } from "../../test/support/builders.ts";
import type { ApplyResult } from "./apply.ts";
import { joinWritten, Slices } from "./slices.ts";

const finding = (index: number): Finding => {
  const address = ip(`10.1.${index >> 8}.${index & 255}`);
  const neighbor = {
    device: ifName("fl-vxlan"),
    address,
    mac: mac("02:00:00:00:00:01"),
    isPermanent: true,
  };
  return { change: neighborKind.put(neighbor) };
};
const findings = (count: number): Finding[] => Array.from({ length: count }, (_, i) => finding(i));

function scene() {
  const writes: { findings: readonly Finding[]; end: (failures?: string[]) => void }[] = [];
  const slices = new Slices((given) => {
    const { promise, resolve } = Promise.withResolvers<ApplyResult>();
    const end = (failures: string[] = []): void =>
      resolve({ applied: failures.length > 0 ? [] : given, failures });
    writes.push({ findings: given, end });
    return promise;
  });
  return { slices, writes };
}

test("has a slice made while another is written, and no third", async () => {
  const { slices, writes } = scene();
  const all = findings(4_000);
  slices.add(all, true);
  slices.begin();
  expect(slices.room()).toBe("unfinished");
  slices.begin();
  const room = slices.room();
  expect(room).toBeInstanceOf(Promise);
  expect([writes.length, slices.hasWaiting]).toEqual([2, true]);
  writes[0]!.end();
  await room;
  expect(slices.room()).toBe("unfinished");
  slices.begin();
  expect([slices.hasWaiting, slices.isEmpty]).toEqual([false, false]);
  for (const { end } of writes) end();
  await slices.ended();
  expect(slices.isEmpty).toBe(true);
  expect(writes.flatMap((write) => write.findings)).toEqual(all);
});

test("tells what was written, repairs apart, and the first failure", async () => {
  const { slices, writes } = scene();
  slices.add(findings(2), true);
  slices.add(findings(3), false);
  slices.add(findings(4), false);
  slices.add(findings(5), false);
  for (let i = 0; i < 4; i++) slices.begin();
  writes.forEach(({ end }, i) => end(i < 2 ? [] : [`no such device ${i}`]));
  await slices.ended();
  const [repairs, others] = joinWritten(slices.take());
  expect([repairs?.isRepair, repairs?.applied.length, repairs?.failures]).toEqual([true, 2, []]);
  expect([others?.applied.length, others?.failures]).toEqual([3, ["no such device 2"]]);
  expect(slices.take()).toEqual([]);
});
