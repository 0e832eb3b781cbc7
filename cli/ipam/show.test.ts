import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatNodeFacts } from "../../core/node-facts.ts";
import { paths as usualPaths } from "../../core/paths.ts";
import type { ReserveRequest } from "../../ipam/ipam.ts";
import { openIpam } from "../../ipam/store.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import { facts as plainFacts } from "../../test/attach/fixture.ts";
import { key, never } from "../../test/ipam/lease-directory.ts";
import { cidr, ip } from "../../test/support/builders.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { collect } from "./inventory.ts";
import { formatInventory } from "./show-text.ts";
import { toJson } from "./show.ts";

const facts = {
  ...plainFacts,
  podCidrs: [cidr("10.244.1.0/27"), cidr("10.250.1.0/28"), cidr("fd00::/64")],
  pools: [{ name: "db", cidrs: [cidr("10.250.0.0/16")] }],
  reserved: [{ first: ip("10.244.1.4"), last: ip("10.244.1.5") }],
  bootId: systemBootClock.bootId,
};

function scene() {
  const directory = temporaryDirectory();
  const at = (name: string): string => join(directory, name);
  const paths = {
    ...usualPaths,
    leases: at("networks"),
    // Where the store puts them for leases elsewhere.
    leaseJournals: at("networks/.fairlead/leases"),
    nodeFacts: at("node.json"),
    statusSocket: at("status.sock"),
  };
  const clocks = { clock: systemClock, boot: systemBootClock };
  return {
    paths,
    ipam: openIpam({ dataDir: paths.leases, ...clocks }),
    collect: (dataDir?: string) => collect(dataDir, { paths, ...clocks }, never),
    writeFacts: () => writeFileSync(paths.nodeFacts, formatNodeFacts(facts)),
    /** Every file with its modification time. */
    files: () =>
      existsSync(paths.leases)
        ? readdirSync(paths.leases, { recursive: true, encoding: "utf8" })
            .sort()
            .map((name) => [name, statSync(join(paths.leases, name)).mtimeMs])
        : [],
  };
}

const subnet = (text: string) => [{ subnet: cidr(text) }];

test("show draws pools, leases and what rests, and changes nothing", async () => {
  const { paths, ipam, collect: collected, writeFacts, files } = scene();
  writeFacts();
  const quarantineMs = 60_000;
  const hold = async (container: string, ranges: string[], name?: string) => {
    const pod = name === undefined ? {} : { pod: { namespace: "demo", name } };
    await ipam.reserve(
      {
        key: key(container, "eth0", "fairlead"),
        ranges: ranges.map(subnet),
        requestedIps: [],
        quarantineMs,
        ...pod,
      },
      never,
    );
  };
  await hold("c1", ["10.244.1.0/27", "fd00::/64"], "web");
  await hold("c2", ["10.244.1.0/27"]);
  await hold("c3", ["10.250.1.0/28"], "db-0");
  await ipam.release(key("c2", "eth0", "fairlead"), never);
  // A torn file is for the next request to reclaim, and another program's lease has no details.
  writeFileSync(join(paths.leases, "fairlead/10.244.1.9"), "");
  writeFileSync(join(paths.leases, "fairlead/10.244.1.20"), "other\r\neth0");
  mkdirSync(join(paths.leases, "cbr0"));
  writeFileSync(join(paths.leases, "cbr0/10.88.0.2"), "f".repeat(64));
  const before = files();
  const shown = await collected();
  expect(files()).toEqual(before);
  const text = formatInventory(shown, 80).replaceAll(paths.leases, "DIR");
  expect(text.replaceAll(/20\d\d-[\d-]+T[\d:]+Z/g, "TIME")).toMatchInlineSnapshot(`
    "network fairlead, DIR/fairlead: 4 held, 1 in quarantine

      POOL     FAMILY  SIZE  HELD     QUARANTINE  FREE  RESERVED
      default  IPv4    27    2 (7 %)  1           24    2
      default  IPv6    2^64  1 (0 %)  0           2^64  0
      db       IPv4    13    1 (7 %)  0           12    0

      10.244.1.0/27 of default
      --#~xx..............#..........-

      fd00::/64 of default, 2^56 a character
      +...............................................................
      ................................................................
      ................................................................
      ................................................................

      10.250.1.0/28 of db
      --#............-

      POD        ADDRESS      POOL     CONTAINER  INTERFACE  SINCE
      demo/db-0  10.250.1.2   db       c3         eth0       TIME
      demo/web   10.244.1.2   default  c1         eth0       TIME
      demo/web   fd00::2      default  c1         eth0       TIME
      -          10.244.1.20  default  other      eth0       -

    network cbr0, DIR/cbr0: 1 held, 0 in quarantine

      POD  ADDRESS    POOL  CONTAINER      INTERFACE  SINCE
      -    10.88.0.2  -     fffffffffffff  -          -

    # held  + some held  ~ quarantine  x reserved  - not a pod's  . free
    "
  `);
  expect(JSON.parse(JSON.stringify(toJson(shown)))).toMatchObject({
    isDaemonRunning: false,
    problems: [],
    networks: [
      {
        network: "fairlead",
        pools: [
          { pool: "default", family: 4, size: 27, held: 2, quarantined: 1, reserved: 2 },
          { pool: "default", family: 6, held: 1 },
          { pool: "db", family: 4, size: 13, held: 1 },
        ],
        leases: [
          { address: "10.244.1.2", pool: "default", pod: { namespace: "demo", name: "web" } },
          { address: "10.244.1.20", containerId: "other" },
          { address: "10.250.1.2", pool: "db", containerId: "c3" },
          { address: "fd00::2" },
        ],
        quarantined: [{ address: "10.244.1.3", pool: "default", freedSeconds: 0 }],
      },
      { network: "cbr0", pools: [], leases: [{ address: "10.88.0.2", ifName: "" }] },
    ],
  });
});

test("show lists a lease whose file somebody emptied, and leaves the file to the next request", async () => {
  const { paths, ipam, collect: collected, writeFacts, files } = scene();
  writeFacts();
  const pod = { namespace: "demo", name: "web" };
  await ipam.reserve(
    {
      key: key("c1", "eth0", "fairlead"),
      ranges: [subnet("10.244.1.0/27")],
      requestedIps: [],
      quarantineMs: 60_000,
      pod,
    },
    never,
  );
  writeFileSync(join(paths.leases, "fairlead/10.244.1.2"), "");
  const before = files();
  const { networks, problems } = await collected();
  expect(problems).toEqual([]);
  expect(networks[0]?.leases).toMatchObject([
    { address: "10.244.1.2", containerId: "c1", ifName: "eth0", details: { pod } },
  ]);
  expect(files()).toEqual(before);
});

test("show counts what is reserved and held, what is unreadable, and no rest that does not apply", async () => {
  const { paths, ipam, collect: collected, writeFacts } = scene();
  writeFacts();
  const reserve = (network: string, range: string, more: Partial<ReserveRequest> = {}) =>
    ipam.reserve(
      {
        key: key("c1", "eth0", network),
        ranges: [subnet(range)],
        requestedIps: [],
        ...more,
      },
      never,
    );
  const rest = { quarantineMs: 60_000 };
  const freed = { ...rest, key: key("c2", "eth0", "fairlead"), requestedIps: [ip("10.244.1.5")] };
  await reserve("fairlead", "10.244.1.0/27", { ...rest, requestedIps: [ip("10.244.1.4")] });
  await reserve("fairlead", "10.244.1.0/27", freed);
  await ipam.release(freed.key, never);
  mkdirSync(join(paths.leases, "fairlead/10.244.1.20"));
  // As the plugin reserves under host-local's name, and as it does with a longer rest.
  await reserve("cbr0", "10.88.0.0/24");
  await ipam.release(key("c1", "eth0", "cbr0"), never);
  await reserve("storage", "10.7.0.0/24", { quarantineMs: 3_600_000 });
  await ipam.release(key("c1", "eth0", "storage"), never);
  const shown = await collected();
  const text = formatInventory(shown, 80).replaceAll(paths.leases, "DIR");
  expect(text.replaceAll(/20\d\d-[\d-]+T[\d:]+Z/g, "TIME")).toMatchInlineSnapshot(`
    "network fairlead, DIR/fairlead: 1 held, 1 unreadable, 1 in quarantine

      POOL     FAMILY  SIZE  HELD     QUARANTINE  FREE  RESERVED
      default  IPv4    27    1 (3 %)  0           26    2 (1 held)
      default  IPv6    2^64  0 (0 %)  0           2^64  0
      db       IPv4    13    0 (0 %)  0           13    0

      10.244.1.0/27 of default
      --..#x..............#..........-

      fd00::/64 of default, 2^56 a character
      ................................................................
      ................................................................
      ................................................................
      ................................................................

      10.250.1.0/28 of db
      --.............-

      POD  ADDRESS      POOL     CONTAINER   INTERFACE  SINCE
      -    10.244.1.4   default  c1          eth0       TIME
      -    10.244.1.20  default  unreadable  -          -

    network cbr0, DIR/cbr0: 0 held, 0 in quarantine

    network storage, DIR/storage: 0 held, 1 in quarantine

    # held  + some held  ~ quarantine  x reserved  - not a pod's  . free
    "
  `);
  expect(JSON.parse(JSON.stringify(toJson(shown)))).toMatchObject({
    networks: [
      {
        network: "fairlead",
        unreadable: ["10.244.1.20"],
        pools: [{ held: 1, heldBesides: 1 }, {}, {}],
      },
      { network: "cbr0", quarantined: [] },
      { network: "storage", quarantined: [{ address: "10.7.0.2" }] },
    ],
  });
});

test("show creates nothing where there is nothing, and says what is not known", async () => {
  const { paths, collect: collected } = scene();
  const text = formatInventory(await collected(), 80);
  expect(text).toContain("No network has leases on this node.\n");
  expect(text).toContain(`problem: The node's blocks are not known: Cannot use the node's facts`);
  expect([existsSync(paths.leases), existsSync(paths.leaseJournals)]).toEqual([false, false]);
});

test("show makes no lock in a directory that lacks one", async () => {
  const { paths, collect: collected, files } = scene();
  mkdirSync(join(paths.leases, "podman"), { recursive: true });
  writeFileSync(join(paths.leases, "podman/10.89.0.2"), "c\r\neth0");
  const before = files();
  expect((await collected()).networks).toMatchObject([
    { network: "podman", leases: [{ address: "10.89.0.2", containerId: "c", ifName: "eth0" }] },
  ]);
  expect(files()).toEqual(before);
});

test("a directory of leases that is not there is said to be missing", async () => {
  const missing = join(temporaryDirectory(), "networks");
  await expect(scene().collect(missing)).rejects.toThrow(
    `Cannot read the leases in ${missing}: there is no such directory`,
  );
});
