import { expect, test } from "vitest";
import { brandName } from "../message/name.ts";
import { WirePublisher } from "./wire-publisher.ts";
import type { WireUpdate } from "./wire-update.ts";

test("tells of the pods that came or went, not of all", () => {
  const updates: WireUpdate[] = [];
  const publisher = new WirePublisher({
    domain: brandName("\x07cluster\x05local\0"),
    seed: 1,
    site: { rewrites: [], ttls: [] },
    publish: (update) => updates.push(update),
  });
  const path = { domains: [brandName("\x04prod\0")], ndots: 5 };
  const searching = (...addresses: string[]): unknown => {
    publisher.setPods(
      new Set(),
      addresses.map((address) => [address, path] as const),
    );
    const update = updates.at(-1);
    if (update?.kind !== "pods") throw new Error("Nothing is told of pods");
    return { new: update.searching.map(({ address }) => address.at(-1)), gone: update.gone };
  };
  expect(searching("10.244.1.2", "10.244.1.3")).toEqual({ new: [2, 3], gone: [] });
  expect(searching("10.244.1.3", "10.244.1.4")).toEqual({
    new: [4],
    gone: [Uint8Array.of(10, 244, 1, 2)],
  });
});
