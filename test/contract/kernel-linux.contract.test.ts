// What only Linux can show: whose namespace the process is in, and what happens when too much happens.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Protocol } from "netlink/dist/constants.js";
import { describe, expect, onTestFinished, test } from "vitest";
import type { NftTable } from "../../core/nft.ts";
import { tryLock } from "../../kernel/flock.ts";
import type { KernelEvent } from "../../kernel/kernel.ts";
import { openKernel } from "../../kernel/linux.ts";
import { systemCalls } from "../../kernel/ffi.ts";
import { openNetlink } from "../../kernel/open-netlink.ts";
import { openNamespace, runInNamespace } from "../../kernel/netns.ts";
import { ifName, ip } from "../support/builders.ts";
import { createNamespace } from "../support/netns.ts";
import { type Scene, aRoute, failureOf, kernels, overlay, overlayChanges } from "./kernels.ts";

const ownNamespace = (): string => readlinkSync("/proc/thread-self/ns/net");
const [, openScene] = kernels[1]!;

describe("entering a namespace", () => {
  test("ends where it began, also when the work throws", () => {
    const before = ownNamespace();
    using sandbox = createNamespace();
    using handle = openNamespace(sandbox.path);
    const inside = runInNamespace(handle, ownNamespace);
    expect(inside).toBe(`net:[${handle.identity.inode}]`);
    expect(inside).not.toBe(before);
    expect(() =>
      runInNamespace(handle, () => {
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(ownNamespace()).toBe(before);
  });

  test.each([
    ["/proc/self/ns/mnt", "EINVAL"],
    ["/etc/passwd", "EINVAL"],
    ["/dev/null", "EINVAL"],
    ["/proc/self/fd", "EINVAL"],
    ["/none", "ENOENT"],
    ["/etc/passwd/none", "ENOTDIR"],
  ])("refuses %s with %s", (path, errno) => {
    expect(failureOf(() => openNamespace(path))).toMatchObject({
      errno,
      message: expect.stringContaining(`"${path}"`),
    });
  });

  test.each([
    ["/proc/self/ns/mnt", "EINVAL"],
    ["/dev/null", "EINVAL"],
    ["/proc/self/ns/net", undefined],
  ])("takes a descriptor of %s as it is, and leaves it open", (path, errno) => {
    const fd = openSync(path, "r");
    try {
      const own = `/proc/self/fd/${fd}`;
      if (errno === undefined) {
        using handle = openNamespace(own);
        expect(handle.fd).toBe(fd);
      } else expect(failureOf(() => openNamespace(own))).toMatchObject({ errno });
      expect(fstatSync(fd).ino).toBe(statSync(path).ino);
    } finally {
      closeSync(fd);
    }
    expect(failureOf(() => openNamespace(`/proc/self/fd/${fd}`))).toMatchObject({
      errno: "ENOENT",
    });
  });

  test("ends the process when there is no way back", () => {
    using sandbox = createNamespace();
    const script = `
      import { closeSync, readdirSync, readlinkSync } from "node:fs";
      import { openNamespace, runInNamespace } from "./kernel/netns.ts";
      const home = readlinkSync("/proc/thread-self/ns/net");
      runInNamespace(openNamespace("${sandbox.path}"), () => {
        for (const fd of readdirSync("/proc/self/fd")) {
          try {
            if (readlinkSync("/proc/self/fd/" + fd) === home) closeSync(Number(fd));
          } catch {}
        }
      });
      console.log("went on");`;
    const { signal, stdout, stderr } = spawnSync(
      "sh",
      ["-c", 'ulimit -c 0; exec "$0" --input-type=module -e "$1"', process.execPath, script],
      { encoding: "utf8" },
    );
    expect({ signal, stdout, stderr }).toMatchObject({ signal: "SIGABRT", stdout: "" });
    expect(stderr).toContain("fairlead: cannot leave a network namespace: EBADF");
  });
});

test("a netlink socket waits 5 s at most, and has the kernel filter its dumps", () => {
  const [socketLevel, receiveTimeout, netlinkLevel, strictCheck] = [1, 20, 270, 12];
  using socket = openNetlink(Protocol.ROUTE);
  const timeout = new BigInt64Array(2);
  const optionOf = (level: number, option: number, value: Uint8Array): number =>
    systemCalls.getsockopt(socket.fd, level, option, value);
  expect(optionOf(socketLevel, receiveTimeout, new Uint8Array(timeout.buffer))).toBe(0);
  expect([...timeout]).toEqual([5n, 0n]);
  const isStrict = new Uint8Array(4);
  expect(optionOf(netlinkLevel, strictCheck, isStrict)).toBe(0);
  expect(isStrict[0]).toBe(1);
});

test("a watcher that is drowned in notifications says so once, and goes on", async () => {
  using scene = openScene();
  const { kernel } = scene;
  kernel.apply(overlayChanges);
  const events: KernelEvent[] = [];
  using small = openKernel({ namespace: scene.path!, watchOctets: 1 << 20 });
  using _ = small.watch((event) => events.push(event));
  const routes = Array.from({ length: 10_000 }, (_unused, i) =>
    aRoute(`10.${i >> 8}.${i & 255}.0/24`, overlay, { metric: i + 1 }),
  );
  kernel.apply(routes.map((route) => ({ kind: "add-route", route })));
  await expect.poll(() => events.filter(({ overflow }) => overflow)).toHaveLength(1);
  const told = events.length;
  kernel.apply([{ kind: "remove-link", device: overlay }]);
  await expect.poll(() => events.length).toBeGreaterThan(told);
});

test("a watch that is held tells later what came meanwhile, and others' doing alone where asked to", async () => {
  using scene = openScene();
  const { kernel } = scene;
  kernel.apply(overlayChanges);
  using other = openKernel({ namespace: scene.path! });
  const told: string[] = [];
  using watch = kernel.watch(
    ({ changes }) => {
      for (const { item } of changes === "many" ? [] : changes) {
        if ("metric" in item && item.protocol === 76) told.push(item.destination);
      }
    },
    { isOwnLeftOut: true },
  );
  const [own, others] = [aRoute("10.244.7.0/24", overlay), aRoute("10.244.8.0/24", overlay)];
  watch.hold();
  kernel.apply([{ kind: "add-route", route: own }]);
  other.apply([{ kind: "add-route", route: others }]);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(told).toEqual([]);
  watch.release();
  await expect.poll(() => told).toEqual(["10.244.8.0/24"]);
});

test("a kernel that is closed while it reaps finishes that, refuses the rest, and leaks nothing", async () => {
  using scene = openScene();
  const open = (): number => readdirSync("/proc/self/fd").length;
  const before = open();
  const kernel = openKernel({ namespace: scene.path ?? "" });
  const pairs = Array.from({ length: 52 }, (_, i) => ifName(`pair${i}`));
  for (const name of pairs) {
    scene.run?.("ip", "link", "add", name, "type", "veth", "peer", "name", `${name}p`);
  }
  const [first, second] = [pairs.slice(0, 48), pairs.slice(48)];
  const outcomes = Promise.allSettled([kernel.reap(first), kernel.reap(second)]);
  // Three groups of 16 are being removed in the thread pool now.
  await setImmediate();
  kernel[Symbol.dispose]();
  expect(await outcomes).toEqual([
    { status: "fulfilled", value: undefined },
    { status: "rejected", reason: expect.objectContaining({ errno: "ECANCELED" }) },
  ]);
  expect(scene.kernel.links().map(({ name }) => name)).not.toContain(first[47]);
  expect(scene.kernel.links().map(({ name }) => name)).toContain(second[0]);
  expect(open()).toBe(before);
  await expect(kernel.reap(second)).rejects.toMatchObject({ errno: "EBADF" });
});

describe("while others change things too", () => {
  /** Runs a command over and over in the node's namespace until the test is over. */
  async function churn(scene: Scene, script: string): Promise<void> {
    const started = "echo started; while :; do " + script + "; done";
    const inside = ["--net=" + scene.path, "sh", "-c", started];
    const child = spawn("nsenter", inside, { stdio: ["ignore", "pipe", "ignore"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    await once(child.stdout, "data");
  }

  test("a dump is complete, however often it is interrupted", async () => {
    using scene = openScene();
    const { kernel } = scene;
    kernel.apply(overlayChanges);
    const routes = Array.from({ length: 2000 }, (_, i) =>
      aRoute(`10.${i >> 8}.${i & 255}.0/24`, overlay, { metric: i + 1 }),
    );
    kernel.apply(routes.map((route) => ({ kind: "add-route", route })));
    await churn(scene, "ip link add x0 type veth peer name x1; ip link del x0");
    for (let round = 0; round < 100; round++) {
      expect(kernel.routes({ protocol: 76 })).toHaveLength(routes.length);
      expect(kernel.links().map(({ name }) => name)).toContain(overlay);
    }
  });

  test("an nftables transaction is tried again until it fits", async () => {
    using scene = openScene();
    await churn(scene, "nft add table ip other; nft delete table ip other");
    for (let round = 0; round < 100; round++) {
      const elements = [ip(`10.0.0.${round}`)];
      const sets = [{ name: "one", family: 4, elements }];
      const table = { name: "fairlead", sets, maps: [], chains: [] };
      expect(scene.kernel.applyNft(table as NftTable)).not.toEqual([]);
      expect(scene.kernel.observeNft("fairlead")?.sets.get("one")).toEqual([`10.0.0.${round}/32`]);
    }
  });
});

describe("a lock between processes", () => {
  const lockFile = (): string => {
    const directory = mkdtempSync(join(tmpdir(), "fairlead-lock-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    return join(directory, "lock");
  };
  /** flock(1) of util-linux: 1 when somebody else has it. */
  const flockOf = (mode: "--shared" | "--exclusive", path: string): number | null =>
    spawnSync("flock", ["--nonblock", mode, path, "true"]).status;

  test("is seen by others: shared with shared, exclusive with none", () => {
    const path = lockFile();
    {
      using _ = tryLock(path, "shared");
      expect([flockOf("--shared", path), flockOf("--exclusive", path)]).toEqual([0, 1]);
    }
    {
      using _ = tryLock(path, "exclusive");
      expect([flockOf("--shared", path), flockOf("--exclusive", path)]).toEqual([1, 1]);
    }
    expect(flockOf("--exclusive", path)).toBe(0);
  });

  test("admits one process at a time, though each removes the file", async () => {
    const path = lockFile();
    const script = `
      import { mkdirSync, rmSync, rmdirSync } from "node:fs";
      import { tryLock } from "./kernel/flock.ts";
      const endsAtMs = performance.now() + 1000;
      while (performance.now() < endsAtMs) {
        using lock = tryLock("${path}", "exclusive");
        if (lock === undefined) continue;
        mkdirSync("${path}.inside");
        rmdirSync("${path}.inside");
        rmSync("${path}");
      }
    `;
    const run = async (): Promise<unknown> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        stdio: ["ignore", "ignore", "inherit"],
      });
      const [status]: unknown[] = await once(child, "exit");
      return status;
    };
    expect(await Promise.all([run(), run(), run()])).toEqual([0, 0, 0]);
  });

  test("is free when its holder is killed", async () => {
    const path = lockFile();
    const holder = spawn("flock", ["--exclusive", path, "sh", "-c", "echo held; exec sleep 60"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    expect(tryLock(path, "shared")).toBeUndefined();
    // sleep, which exec made of the shell, has inherited the lock with the descriptor.
    execFileSync("pkill", ["-KILL", "-P", String(holder.pid)]);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await expect
      .poll(() => {
        using lock = tryLock(path, "exclusive");
        return lock !== undefined;
      })
      .toBe(true);
  });
});
