import { expect, test } from "vitest";
import { aPod } from "../../test/dns/pods.ts";
import { ip } from "../../test/support/builders.ts";
import { PodEntries } from "./pod-entries.ts";

test("an address is held while any pod has it", () => {
  const entries = new PodEntries();
  const [web, next] = [aPod("web", "10.244.1.7"), aPod("next", "10.244.1.7")];
  entries.set(web);
  entries.set(web);
  entries.set(next);
  entries.delete(web.id);
  entries.delete(web.id);
  expect(entries.isHeld(ip("10.244.1.7"))).toBe(true);
  entries.set({ ...next, addresses: [ip("10.244.1.8")] });
  expect(entries.isHeld(ip("10.244.1.7"))).toBe(false);
  expect(entries.isHeld(ip("10.244.1.8"))).toBe(true);
  expect([...entries.values()].map(({ id }) => id)).toEqual([next.id]);
});
