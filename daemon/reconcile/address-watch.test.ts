import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../core/log.ts";
import type { NodeFacts } from "../../core/node-facts.ts";
import type { Ipam } from "../../ipam/ipam.ts";
import { facts as plainFacts } from "../../test/attach/fixture.ts";
import { type DataDir, createDataDir, key, never } from "../../test/ipam/lease-directory.ts";
import { cidr, ip } from "../../test/support/builders.ts";
import { AddressWatch } from "./address-watch.ts";

let data: DataDir;
let ipam: Ipam;
beforeEach(() => {
  data = createDataDir();
  ipam = data.open();
});
afterEach(() => data[Symbol.dispose]());

const facts: NodeFacts = {
  ...plainFacts,
  network: "mynet",
  podCidrs: [cidr("10.244.1.0/27"), cidr("10.250.1.0/28"), cidr("fd00::/64")],
  pools: [{ name: "db", cidrs: [cidr("10.250.0.0/16")] }],
  reserved: [{ first: ip("10.244.1.2"), last: ip("10.244.1.10") }],
};

function watch(given: () => NodeFacts | undefined = () => facts, kind: "file" | "etcd" = "file") {
  const logged: string[] = [];
  const note = (level: string) => (_: object, message: string) => {
    logged.push(`${level}: ${message}`);
  };
  const log = { ...silentLog, warn: note("warn"), info: note("info"), error: note("error") };
  const watched = new AddressWatch({
    ipam,
    facts: given,
    log,
    source: { kind },
    everyMs: 1_000_000,
  });
  onTestFinished(() => watched[Symbol.asyncDispose]());
  return { watched, logged };
}
const ranges = [[{ subnet: cidr("10.250.1.0/28") }]];
const hold = (name: string) => ipam.reserve({ key: key(name), ranges, requestedIps: [] }, never);

test("counts what the node has, by pool and family", async () => {
  await hold("a");
  const { watched } = watch();
  await watched.look();
  const counts = { held: 0, quarantined: 0, reserved: 0 };
  expect(watched.pools).toEqual([
    { ...counts, pool: "default", family: 4, podCidrs: ["10.244.1.0/27"], size: 20, reserved: 9 },
    { ...counts, pool: "default", family: 6, podCidrs: ["fd00::/64"], size: 2 ** 64 },
    { ...counts, pool: "db", family: 4, podCidrs: ["10.250.1.0/28"], size: 13, held: 1 },
  ]);
  expect(watched.problems).toEqual([]);
});

test("warns once at 80 and at 95 per cent, with the fix, and says when it is over", async () => {
  const { watched, logged } = watch();
  for (let i = 0; i < 13; i++) {
    await hold(`c${i}`);
    await watched.look();
  }
  const fix = `"fairlead ipam assign --node node-a --count 1 --pool db" gives this node a further block`;
  const full = `Pool "db" has no IPv4 address left: 13 of 13 are held, 0 in quarantine; ${fix}`;
  expect(logged).toEqual([
    `warn: Pool "db" is 84 % full of IPv4: 11 of 13 are held, 0 in quarantine; ${fix}`,
    `warn: ${full}`,
  ]);
  expect(watched.problems).toEqual([{ area: "ipam", message: full }]);
  for (let i = 0; i < 4; i++) {
    await ipam.release(key(`c${i}`), never);
    await watched.look();
  }
  expect(logged.slice(2)).toEqual([
    "info: a pool has addresses left again",
    "info: a pool has addresses left again",
  ]);
  expect(watched.problems).toEqual([]);
});

test("names no command where the cluster gives nodes their blocks", async () => {
  const { watched, logged } = watch(() => facts, "etcd");
  for (let i = 0; i < 13; i++) await hold(`c${i}`);
  await watched.look();
  expect(logged).toEqual([
    `warn: Pool "db" has no IPv4 address left: 13 of 13 are held, 0 in quarantine`,
  ]);
});

test("says nothing while nothing is known of the node", async () => {
  const { watched } = watch(() => undefined);
  await watched.look();
  expect([watched.pools, watched.problems]).toEqual([[], []]);
});

test("reports a directory that cannot be read, once, and goes on when it can", async () => {
  let network = "../nowhere";
  const { watched, logged } = watch(() => ({ ...facts, network }));
  await watched.look();
  await watched.look();
  expect(watched.problems).toEqual([
    {
      area: "ipam",
      message: expect.stringContaining('Cannot count the addresses of network "../'),
    },
  ]);
  expect(logged).toEqual(["error: cannot count the addresses"]);
  network = "mynet";
  await watched.look();
  expect(watched.problems).toEqual([]);
});
