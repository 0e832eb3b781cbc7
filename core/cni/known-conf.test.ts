import { expect, test } from "vitest";
import type { ConfContext } from "./config.ts";
import { knownConfHeader, knownNetConf } from "./known-conf.ts";

const text = (more: object = {}): string =>
  JSON.stringify({ cniVersion: "1.0.0", name: "fairlead", type: "fairlead", ...more });
const contextOf = (
  args: Readonly<Record<string, string>> = {},
  more: Partial<ConfContext> = {},
): ConfContext => ({
  command: "ADD",
  cniVersion: "1.0.0",
  args: new Map(Object.entries(args)),
  ...more,
});
const read = (raw: string, context = contextOf()) => knownNetConf(knownConfHeader(raw), context);

test("the same text in the same context is read once", () => {
  const conf = read(text({ mtu: 1400 }));
  expect(conf.mtu).toBe(1400);
  expect(read(text({ mtu: 1400 }))).toBe(conf);
  expect(read(text({ mtu: 1400 }), contextOf({ K8S_POD_NAME: "another" }))).toBe(conf);
  expect(read(text({ mtu: 1500 })).mtu).toBe(1500);
});

test.each<[string, ConfContext, object]>([
  [
    "an address of CNI_ARGS",
    contextOf({ IP: "10.1.2.3" }),
    { ipam: { requestedIps: ["10.1.2.3"] } },
  ],
  ["a MAC of CNI_ARGS", contextOf({ MAC: "02:00:00:00:00:07" }), { mac: "02:00:00:00:00:07" }],
  ["a verb", contextOf({}, { command: "GC" }), { ipam: { routes: [] } }],
  ["a version", contextOf({}, { cniVersion: "0.4.0" }), { cniVersion: "0.4.0" }],
  ["a program", contextOf({}, { isIpam: true }), { ipam: { type: "host-local" } }],
])("%s makes another reading", (_, context, expected) => {
  const raw = text({ ipam: { type: "host-local" } });
  const usual = context.isIpam === true || context.command === "GC" ? raw : text();
  const plain = read(usual);
  const other = read(usual, context);
  expect(other).toMatchObject(expected);
  expect(other).not.toBe(plain);
  expect(read(usual)).toBe(plain);
  expect(read(usual, context)).toBe(other);
});

test("a text that is wrong is wrong every time", () => {
  for (let i = 0; i < 2; i++) {
    expect(() => read(text({ mtu: 12 }))).toThrow("Invalid mtu 12");
    expect(() => read("{")).toThrow("not JSON");
  }
});

test("what is one pod's alone, or is not used for long, is not kept", () => {
  const of = (pod: number) =>
    text({ prevResult: { cniVersion: "1.0.0", ips: [] }, mtu: 1400 + pod });
  expect(knownConfHeader(of(1))).not.toBe(knownConfHeader(of(1)));
  const long = text({ more: "x".repeat(20_000) });
  expect(knownConfHeader(long)).not.toBe(knownConfHeader(long));
  const first = knownConfHeader(text({ mtu: 2000 }));
  for (let i = 1; i <= 64; i++) knownConfHeader(text({ mtu: 2000 + i }));
  expect(knownConfHeader(text({ mtu: 2000 }))).not.toBe(first);
});

test("what comes again and again is kept, however many pods have a text of their own", () => {
  const plain = knownConfHeader(text());
  for (let port = 1; port <= 200; port++) {
    const portMappings = [{ hostPort: port, containerPort: 80, protocol: "tcp" }];
    knownConfHeader(text({ runtimeConfig: { portMappings } }));
    expect(knownConfHeader(text())).toBe(plain);
  }
});
