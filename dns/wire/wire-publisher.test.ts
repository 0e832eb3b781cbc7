import { expect, test } from "vitest";
import { clusterParts } from "../../test/dns/fixture.ts";
import type { ZoneUpdate } from "../cluster/zone-feed.ts";
import { brandName } from "../message/name.ts";
import type { SearchPath } from "../cluster/pod-directory.ts";
import { WirePublisher } from "./wire-publisher.ts";
import type { WireUpdate } from "./wire-update.ts";

const prod = { domains: [brandName("\x04prod\0")], ndots: 5 };
const dev = { domains: [brandName("\x03dev\0")], ndots: 5 };

/** What the packet thread is told of pods, in order: search lists by the last octet of an address. */
function told() {
  const updates: WireUpdate[] = [];
  const publisher = new WirePublisher({
    domain: brandName("\x07cluster\x05local\0"),
    seed: 1,
    site: { rewrites: [], ttls: [] },
    publish: (update) => updates.push(update),
  });
  const showZone = (update: Partial<ZoneUpdate>): unknown => {
    publisher.applyZone({ ...sameZone, ...update });
    const last = updates.at(-1);
    return last?.kind === "zone" && last.hasNewNames;
  };
  const change = (trees: string[], paths: Record<string, SearchPath | undefined>): unknown => {
    updates.length = 0;
    publisher.changePods(new Set(trees), Object.entries(paths), false);
    return updates.map((update) => {
      if (update.kind !== "pods") throw new Error("Something else is told");
      const { trees, searching, gone } = update;
      const at = (address: Uint8Array): number | undefined => address.at(-1);
      return {
        trees: trees.length,
        new: searching.map((one) => at(one.address)),
        gone: gone.map(at),
      };
    });
  };
  /** Marks that are told; false: there is no such name. */
  const marks = (update: Partial<ZoneUpdate>): readonly boolean[] => {
    publisher.applyZone({ ...sameZone, ...update });
    const last = updates.at(-1);
    const told = last?.kind === "zone" ? [...last.marks] : [];
    return told.filter((_, at) => at % 2 === 1).map((mark) => mark > 0);
  };
  return { change, showZone, marks };
}

const sameZone: ZoneUpdate = {
  revision: 1,
  isInSync: true,
  isComplete: false,
  namespaces: ["prod"],
  services: [],
  added: [],
  removed: [],
};

test("tells of the pods that came, went or have another list", () => {
  const { change } = told();
  expect(change(["fairlead"], { "10.244.1.2": prod, "10.244.1.3": prod })).toEqual([
    { trees: 1, new: [2, 3], gone: [] },
  ]);
  expect(change(["fairlead"], { "10.244.1.2": undefined, "10.244.1.4": prod })).toEqual([
    { trees: 1, new: [4], gone: [2] },
  ]);
  expect(change(["fairlead"], { "10.244.1.3": dev })).toEqual([{ trees: 1, new: [3], gone: [] }]);
});

test("tells of other networks, and of nothing where nothing has changed", () => {
  const { change } = told();
  expect(change([], { "10.244.1.2": undefined })).toEqual([]);
  expect(change(["fairlead"], { "10.244.1.2": prod })).toHaveLength(1);
  expect(change(["fairlead"], { "10.244.1.2": prod })).toEqual([]);
  expect(change(["lab"], {})).toEqual([{ trees: 1, new: [], gone: [] }]);
  expect(change([], {})).toEqual([{ trees: 0, new: [], gone: [] }]);
});

test("tells when there may be names that were not there before", () => {
  const { showZone } = told();
  const services = clusterParts.services
    .filter(({ namespace }) => namespace === "prod")
    .map((service) => ({ service, slices: [] }));
  const first = services[0]!.service.name;
  expect(showZone({ services, isComplete: true })).toBe(true);
  // Changed, or gone.
  expect(showZone({ services: services.slice(1) })).toBe(false);
  expect(showZone({ removed: [`prod/${first}`] })).toBe(false);
  expect(showZone({ services, added: [`prod/${first}`] })).toBe(true);
  expect(showZone({ namespaces: ["dev", "prod"] })).toBe(true);
  expect(showZone({ namespaces: ["prod"] })).toBe(false);
  // Those of pods have no marks.
  expect(showZone({ pods: ["prod/10.244.1.7"] })).toBe(true);
});

test("says that no name of a hash is there when the last of them has gone", () => {
  const { marks } = told();
  expect(marks({})).toEqual([true]);
  // Three spellings of one name have one hash.
  const [one, two, three] = ["prod/web", "prod/Web", "prod/WEB"];
  expect(marks({ added: [one, two] })).toEqual([true]);
  expect(marks({ added: [three], removed: [one] })).toEqual([true]);
  expect(marks({ removed: [two] })).toEqual([true]);
  expect(marks({ removed: [three] })).toEqual([false]);
});
