import { describe, expect, test } from "vitest";
import { parseConfHeader, parseNetConf } from "./config.ts";
import type { CniCommand } from "./types.ts";

const parse = (more: object, command: CniCommand = "ADD") =>
  parseNetConf(parseConfHeader(JSON.stringify({ cniVersion: "1.0.0", name: "net", ...more })), {
    command,
    cniVersion: "1.0.0",
    args: new Map(),
  }).bandwidth;
const ofRuntime = (bandwidth: unknown, command?: CniCommand) =>
  parse({ runtimeConfig: { bandwidth } }, command);

describe("bandwidth", () => {
  test("is read in either spelling, each direction by itself", () => {
    expect(
      ofRuntime({ ingressRate: 1_000, ingressBurst: 2_000, egressRate: 8, egressBurst: 1 }),
    ).toEqual({ ingress: { rate: 1_000, burst: 2_000 }, egress: { rate: 8, burst: 1 } });
    expect(
      ofRuntime({ IngressRate: 1_000_000, IngressBurst: 4_294_967_295, EgressRate: 0 }),
    ).toEqual({ ingress: { rate: 1_000_000, burst: 4_294_967_295 } });
    expect(parse({ runtimeConfig: { bandWidth: { egressRate: 80, egressBurst: 8 } } })).toEqual({
      egress: { rate: 80, burst: 8 },
    });
  });

  test.each([
    ["no capability", {}],
    ["null", { runtimeConfig: { bandwidth: null } }],
    ["no key", { runtimeConfig: { bandwidth: {} } }],
    ["zeros", { runtimeConfig: { bandwidth: { ingressRate: 0, ingressBurst: 0 } } }],
    ["nulls", { ingressRate: null, egressBurst: null }],
  ])("is absent with %s", (_what, more) => expect(parse(more)).toBeUndefined());

  test("at the top wins over the runtime's, even for the other direction (bw-12)", () => {
    const runtimeConfig = { bandwidth: { egressRate: 800, egressBurst: 800 } };
    expect(parse({ ingressRate: 80, ingressBurst: 80, runtimeConfig })).toEqual({
      ingress: { rate: 80, burst: 80 },
    });
    expect(parse({ ingressRate: 0, runtimeConfig })).toBeUndefined();
  });

  test.each([
    ["bw-06", { ingressRate: 0, ingressBurst: 123 }, "ingressBurst 123: expected ingressRate"],
    ["bw-07", { ingressRate: 1, ingressBurst: 0 }, "ingressRate 1: expected ingressBurst"],
    ["no burst", { egressRate: 800 }, "egressRate 800: expected egressBurst"],
    ["below an octet", { egressRate: 7, egressBurst: 80 }, "egressRate 7: expected at least 8"],
    ["bw-10", { egressRate: 8, egressBurst: 4 * 2 ** 30 * 8 }, "egressBurst 34359738368: expected"],
    ["bw-16, negative", { egressRate: -8, egressBurst: 80 }, "egressRate -8: expected a whole"],
    ["bw-16, fraction", { egressRate: 8.5, egressBurst: 80 }, "egressRate 8.5: expected a whole"],
    ["text", { egressRate: "1M", egressBurst: 80 }, 'egressRate "1M": expected a whole'],
  ])("%s is refused, naming key and value", (_id, given, message) => {
    const problem = { code: 7, message: expect.stringContaining(message) };
    expect(() => ofRuntime(given)).toThrow(expect.objectContaining(problem));
    expect(() => parse(given)).toThrow(expect.objectContaining(problem));
    expect(ofRuntime(given, "DEL")).toBeUndefined();
    expect(ofRuntime(given, "GC")).toBeUndefined();
  });

  test.each([
    ["bw-09", { ingressRate: 8, ingressBurst: 4 * 2 ** 30 * 8 - 16 }],
    ["bw-13", { ingressRate: 100_000_000, ingressBurst: 2 ** 32 - 1 }],
    ["bw-15", { ingressRate: 10 ** 12, ingressBurst: 10 ** 9 }],
    ["CRI-O's burst", { ingressRate: 1_000_000, ingressBurst: 8 * (2 ** 32 - 1) - 1 }],
  ])("%s is accepted", (_id, { ingressRate: rate, ingressBurst: burst }) =>
    expect(ofRuntime({ ingressRate: rate, ingressBurst: burst })).toEqual({
      ingress: { rate, burst },
    }),
  );
});
