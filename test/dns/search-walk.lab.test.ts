// Ordinary clients inside a pod that the resolver knows: their search lists are walked for them.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lookupNames, lookupsIn, type PodLab, startPodLab } from "./pod-lab.ts";

let lab: PodLab;
beforeAll(async () => {
  lab = await startPodLab({ isKnownPod: true });
});
afterAll(() => lab[Symbol.asyncDispose]());

describe.each(lookupNames)("%s", (client) => {
  const lookup = (name: string): string[] => lookupsIn(lab)[client]!(name).toSorted();

  test.each([
    ["web", ["10.96.1.1"]],
    ["web.dev", ["10.96.2.1"]],
    ["kubernetes.default", ["10.96.0.1"]],
    ["kubernetes.default.svc", ["10.96.0.1"]],
    ["kubernetes.default.svc.cluster.local", ["10.96.0.1"]],
    ["web.dev.svc.cluster.local.", ["10.96.2.1"]],
    ["dual", ["10.96.1.3", "fd00:10:96::1:3"]],
    ["ext", ["192.0.2.53", "2001:db8::53"]],
    ["api.example.com", ["192.0.2.53", "2001:db8::53"]],
    ["api.example.com.", ["192.0.2.53", "2001:db8::53"]],
    ["v4only.example.com", ["192.0.2.54"]],
    ["nosuch", [""]],
    ["nosuch.example.com", [""]],
  ])("finds %s", (name, addresses) => {
    expect(lookup(name)).toEqual(addresses);
  });

  test("asks once for each type where it would ask four times", async () => {
    lookup("api.example.com");
    for (const name of ["api.example.com", "v4only.example.com", "web.dev"]) {
      const before = await lab.counters();
      lookup(name);
      expect((await lab.counters()).queries.udp - before.queries.udp).toBe(2);
    }
  });
});

test("dig +search and getent see what the name is another name for", () => {
  const lines = lab.inPod("dig +search +noall +answer api.example.com A");
  expect(lines.map((line) => line.split(/\s+/).filter((_, i) => i !== 1))).toEqual([
    ["api.example.com.prod.svc.cluster.local.", "IN", "CNAME", "api.example.com."],
    ["api.example.com.", "IN", "A", "192.0.2.53"],
  ]);
  expect(lab.inPod("getent ahostsv4 api.example.com")[0]).toMatch(
    /^192\.0\.2\.53\s+STREAM api\.example\.com$/,
  );
});

test("Node's resolver, which walks the list itself, gets the same", () => {
  const source = `
    const { Resolver } = require("dns").promises;
    (async () => console.log(JSON.stringify([
      await new Resolver().resolve4("api.example.com"),
      await new Resolver().resolve6("api.example.com"),
      await new Resolver().resolve4("nosuch.example.com").catch((e) => e.code),
    ])))()`;
  expect(JSON.parse(lab.inPod(`${process.execPath} -e '${source}'`)[0]!)).toEqual([
    ["192.0.2.53"],
    ["2001:db8::53"],
    "ENOTFOUND",
  ]);
});
