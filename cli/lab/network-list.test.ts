import { describe, expect, test } from "vitest";
import { hasPrevResultOnDel, parseNetworkList, requestConfig } from "./network-list.ts";

const parse = (list: object): ReturnType<typeof parseNetworkList> =>
  parseNetworkList(JSON.stringify(list), "10-x.conflist");
const plugins = [{ type: "fairlead" }];

describe("parseNetworkList()", () => {
  test.each([
    ["one", { cniVersion: "1.0.0" }, "1.0.0"],
    ["libcni-14", { cniVersion: "1.0.0", cniVersions: ["1.0.0", "1.1.0"] }, "1.1.0"],
    ["libcni-10", { cniVersion: "1.0.0", cniVersions: ["0.4.0", "99.0.0"] }, "1.0.0"],
    ["by number", { cniVersions: ["0.3.1", "0.10.0", "0.4.0"] }, "0.10.0"],
    ["libcni-13", { cniVersion: "1.2.3" }, "1.2.3"],
    ["none", {}, "0.1.0"],
  ])("%s: chooses of %j the version %s", (_id, versions, chosen) => {
    expect(parse({ name: "x", plugins, ...versions }).cniVersion).toBe(chosen);
  });

  test.each([
    ["not JSON", "{", "not JSON"],
    [
      "a bad version (libcni-11)",
      { name: "x", plugins, cniVersions: ["1.0.f"] },
      'CNI version "1.0.f"',
    ],
    ["no plugin (libcni-26)", { name: "x", plugins: [] }, "Invalid plugins: no plugin"],
    ["no list of plugins (libcni-22)", { name: "x" }, "Invalid plugins"],
    ["a plugin without type (libcni-07)", { name: "x", plugins: [{}] }, "Invalid plugins.0.type"],
    ["a name that is a number (libcni-08)", { name: 5, plugins }, "Invalid name"],
    ["a bad name", { name: "../x", plugins }, "Invalid name: not a network name"],
  ])("refuses %s, naming the file", (_case, list, message) => {
    const text = typeof list === "string" ? list : JSON.stringify(list);
    expect(() => parseNetworkList(text, "10-x.conflist")).toThrow(/^10-x\.conflist: /);
    expect(() => parseNetworkList(text, "10-x.conflist")).toThrow(message);
  });
});

describe("requestConfig()", () => {
  const list = parse({
    name: "x",
    cniVersion: "1.0.0",
    plugins: [
      { type: "a", own: { key: null } },
      { type: "b", cniVersion: "0.1.0", capabilities: { ips: true, mac: false, dns: true } },
    ],
  });
  const [a, b] = list.plugins;
  const request = (...args: Parameters<typeof requestConfig>): unknown =>
    JSON.parse(requestConfig(...args));

  test("gives name and version of the list, and keeps what it does not know (libcni-28)", () => {
    expect(request(list, a!, { capabilityArgs: { ips: ["10.0.0.1"] } })).toEqual({
      type: "a",
      own: { key: null },
      name: "x",
      cniVersion: "1.0.0",
    });
  });

  test("adds prevResult, and of the capabilities those declared and given", () => {
    const capabilityArgs = { ips: ["10.0.0.1"], mac: "02:00:00:00:00:01" };
    expect(request(list, b!, { prevResult: { ips: [] }, capabilityArgs })).toEqual({
      type: "b",
      capabilities: { ips: true, mac: false, dns: true },
      name: "x",
      cniVersion: "1.0.0",
      runtimeConfig: { ips: ["10.0.0.1"] },
      prevResult: { ips: [] },
    });
  });
});

test.each([
  ["0.3.1", false],
  ["0.4.0", true],
  ["1.1.0", true],
])("hasPrevResultOnDel(%s) is %s", (version, has) => {
  expect(hasPrevResultOnDel(version)).toBe(has);
});
