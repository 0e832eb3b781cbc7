import { describe, expect, test } from "vitest";
import { SharedUpstreamStats } from "../../dns/upstream/upstream-stats.ts";
import { ip } from "../../test/support/builders.ts";
import {
  findUpstreams,
  forwardSettings,
  silentUpstreams,
  type UpstreamInput,
} from "./upstreams.ts";

const find = (files: Readonly<Record<string, string>>, more: Partial<UpstreamInput> = {}) => {
  const { upstreams, warnings } = findUpstreams({
    configured: "auto",
    own: [ip("10.96.0.10")],
    readFile: (path) => files[path],
    ...more,
  });
  return [upstreams.map(({ address, port }) => `${address}#${port}`), warnings];
};
const resolvConf = "/etc/resolv.conf";
const behindStub = "/run/systemd/resolve/resolv.conf";

describe("findUpstreams()", () => {
  test("reads the node's resolvers, three at most", () => {
    const lines = [1, 2, 3, 4].map((n) => `nameserver 192.0.2.${n}\n`).join("");
    expect(find({ [resolvConf]: `search example.org\n${lines}` })).toEqual([
      ["192.0.2.1#53", "192.0.2.2#53", "192.0.2.3#53"],
      [],
    ]);
  });

  test("looks behind the stub of systemd-resolved", () => {
    const files = { [resolvConf]: "nameserver 127.0.0.53\noptions edns0\n" };
    expect(find({ ...files, [behindStub]: "nameserver 192.0.2.9\n" })).toEqual([
      ["192.0.2.9#53"],
      [],
    ]);
    expect(find(files)).toEqual([["127.0.0.53#53"], []]);
  });

  test("leaves out our own address, which would ask us again", () => {
    expect(find({ [resolvConf]: "nameserver 10.96.0.10\nnameserver 192.0.2.1\n" })).toEqual([
      ["192.0.2.1#53"],
      ["Left out the upstream 10.96.0.10 of /etc/resolv.conf: it is our own address"],
    ]);
  });

  test("says so when there is none", () => {
    expect(find({})).toEqual([
      [],
      ["Found no upstream in /etc/resolv.conf: names outside the cluster are refused"],
    ]);
  });

  test("takes the configuration's word, but for our own address", () => {
    const configured = [
      { address: ip("192.0.2.1"), port: 5353 },
      { address: ip("10.96.0.10"), port: 53 },
      { address: ip("10.96.0.10"), port: 5353 },
    ];
    expect(find({}, { configured })).toEqual([
      ["192.0.2.1#5353", "10.96.0.10#5353"],
      ["Left out the upstream 10.96.0.10 of dns.upstreams: it is our own address"],
    ]);
    expect(find({}, { configured: [] })).toEqual([[], []]);
  });
});

describe("forwardSettings()", () => {
  test.each([
    ["/nowhere/ca.pem", /Cannot use \/nowhere\/ca\.pem: ENOENT.*Expected certificates in PEM/],
    [import.meta.filename, /Cannot use .*upstreams\.test\.ts: .*Expected certificates in PEM/],
  ])("names the file of authorities that cannot be used: %s", (caPath, problem) => {
    expect(() => forwardSettings({ mixCase: false, caPath })).toThrow(problem);
  });
});

test("silentUpstreams() names those that are used and have failed", () => {
  const stats = new SharedUpstreamStats();
  stats.of("192.0.2.53:53").setUp(false, "no answer within 1000 ms");
  stats.of("192.0.2.54:53").setUp(true);
  stats.of("192.0.2.55:53").setUp(false, "no longer asked");
  const used = ["192.0.2.53", "192.0.2.54"].map((address) => ({ address: ip(address), port: 53 }));
  const server = { upstreams: () => stats.read() };
  expect(silentUpstreams(server, used)).toEqual(["no answer within 1000 ms"]);
});
