// What every Kernel promises of elements that are put and removed without reading the table.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type NftMap, type NftTable, asObserved } from "../../core/nft.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import { ip } from "../support/builders.ts";
import { type Scene, failureOf, kernels } from "./kernels.ts";
import { expectTable, table } from "./nft-table.ts";

describe.each(kernels)("single elements of %s", (_name, openScene) => {
  let scene: Scene;
  let kernel: Kernel;
  beforeEach(() => {
    scene = openScene();
    kernel = scene.kernel;
  });
  afterEach(() => scene[Symbol.dispose]());

  const [ports4, , pairs6] = table.maps;
  const ofPorts = table.chains.slice(0, 3);
  const [ports] = ofPorts;
  const postrouting = table.chains.find(({ name }) => name === "postrouting");
  const extra = table.chains.find(({ name }) => name === "extra");
  const expectInPlace = (wanted: NftTable): void => expectTable(scene, wanted);
  const tcp = (port: number, to = "10.244.1.2"): NftMap => ({
    ...ports4!,
    elements: [{ key: ["tcp", port], value: [ip(to), 80] }],
  });
  const portsOf = () => kernel.observeNft("fairlead")?.maps.get("ports4");
  const put = (...maps: readonly NftMap[]) => kernel.putNftElements({ ...table, maps });

  test("are put beside others, again without effect, and removed", () => {
    kernel.applyNft(table);
    for (let i = 0; i < 2; i++) put(tcp(8081), { ...pairs6!, elements: [] });
    expect(portsOf()).toEqual(
      [...asObserved(table).maps.get("ports4")!, "tcp . 8081 : 10.244.1.2 . 80"].sort(),
    );
    kernel.removeNftElements("fairlead", [tcp(8081), tcp(9999)]);
    expectInPlace(table);
    kernel.removeNftElements("fairlead", [tcp(8081)]);
  });

  test("whose key leads elsewhere are refused, with all that came with them", () => {
    kernel.applyNft(table);
    const failure = failureOf(() => put(tcp(8081), tcp(8080, "10.244.1.9")));
    expect(failure).toMatchObject({
      errno: "EEXIST",
      message: expect.stringContaining("add elements of map ports4"),
    });
    expectInPlace(table);
  });

  test("that lead elsewhere are missing, and not removed", () => {
    kernel.applyNft(table);
    const other = tcp(8080, "10.244.1.9");
    expect(kernel.missingNftElements("fairlead", [tcp(8080), other, tcp(8081)])).toEqual([
      other,
      tcp(8081),
    ]);
    kernel.removeNftElements("fairlead", [other]);
    expectInPlace(table);
  });

  test("without the table are missing, and put with all of it", () => {
    expect(kernel.missingNftElements("fairlead", [tcp(8080)])).toEqual([tcp(8080)]);
    kernel.removeNftElements("fairlead", [tcp(8080)]);
    kernel.putNftElements(table);
    expectInPlace(table);
  });

  test("without their map are put with what else is missing, and what is there stays", () => {
    const others = {
      ...table,
      maps: table.maps.slice(1),
      chains: [ports!, postrouting!, extra!],
    };
    kernel.applyNft({ ...others, chains: [postrouting!, extra!] });
    kernel.putNftElements({ ...table, sets: [], chains: ofPorts });
    const observed = kernel.observeNft("fairlead")!;
    expect(observed.maps).toEqual(asObserved(table).maps);
    expect(observed.sets).toEqual(asObserved(table).sets);
    expect([...observed.chains.keys()].sort()).toEqual([
      "extra",
      "ports",
      "ports-back",
      "ports-in",
      "postrouting",
    ]);
    expect(observed.chains.get("ports")).toEqual(asObserved(table).chains.get("ports"));
    expect(kernel.applyNft(table)).not.toEqual([]);
    expect(kernel.observeNft("fairlead")).toEqual(asObserved(table));
  });

  test("of a map are thousands", () => {
    const elements = Array.from({ length: 5000 }, (_, i) => ({
      key: ["tcp" as const, 10_000 + i],
      value: [ip("10.244.1.2"), 80],
    }));
    kernel.applyNft(table);
    put({ ...ports4!, elements });
    expect(portsOf()).toHaveLength(5003);
    kernel.removeNftElements("fairlead", [{ ...ports4!, elements }]);
    expectInPlace(table);
  });
});
