// The demo's story, held to its word; and the demo as a process: what it prints and how it ends.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { artifacts } from "../../cli/home.ts";
import { labDown } from "../../cli/lab/lab.ts";
import type { Claim } from "../../scripts/demo/claim.ts";
import { traceOfLab } from "../../scripts/demo/remains.ts";
import { tell } from "../../scripts/demo/story.ts";
import { testLab } from "../support/lab.ts";

describe("the demo's story", () => {
  let claims: readonly Claim[] = [];
  beforeAll(async () => {
    const { directory } = await testLab();
    claims = await tell({
      directory,
      manifests: join(artifacts.conf, "demo"),
      keep: false,
      report: () => {},
      show: () => {},
      signal: AbortSignal.timeout(100_000),
    });
  });

  test("is true in every claim", () => {
    expect(claims.filter(({ isTrue }) => !isTrue)).toEqual([]);
  });

  test("makes every claim there is to make", () => {
    expect(claims.map((claim) => claim.text)).toMatchInlineSnapshot(`
      [
        "nodes have network, mount and UTS namespaces of their own",
        "a daemon on each node is ready and has no problem (fairlead status)",
        "each daemon has the 3 Nodes of the manifests: pod CIDRs, and the path to each peer",
        "two pods per node are attached, with addresses of their node's pod CIDR",
        "each ADD is served by the daemon (the launcher waits a second before it does without)",
        "each pod pings each other pod",
        "each pod sends each other pod 64 KiB over TCP, and gets them back",
        "each pod keeps its own source address inside the cluster (as the TCP peer sees it)",
        "packets between nodes on both sides of the router travel as VXLAN (capture)",
        "packets between nodes on one link travel as they are (capture)",
        "the outside has no route to any pod (ip route get)",
        "pods reach the outside, which sees their node's address (masquerading)",
        "pods resolve a headless service: dig db.demo.svc.cluster.local A",
        "pods resolve a ClusterIP service: getent web.demo.svc.cluster.local",
        "pods resolve a name by the search path: getent web",
        "pods resolve a reverse name: dig -x 10.244.1.3",
        "pods resolve an outside name, through the upstream: getent outside.example",
        "each DEL is served by the daemon",
        "after DEL no interface, address, route, neighbor, rule, lease, record or process is left",
        "after the lab no namespace, mount or file is left, and the machine's network is untouched",
      ]
    `);
  });
});

test("the demo, whose reader goes away, takes its lab away and fails", async () => {
  const { directory } = await testLab();
  onTestFinished(async () => void (await labDown(directory)));
  const demo = spawn(process.execPath, ["scripts/demo.ts", "--dir", directory], {
    cwd: join(import.meta.dirname, "../.."),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [said, closed] = [text(demo.stderr), once(demo, "close")];
  await once(demo.stdout, "data");
  demo.stdout.destroy();
  expect([await closed, await said]).toEqual([[1, null], expect.stringContaining("EPIPE")]);
  expect(traceOfLab(directory)).toEqual([]);
});

test("the demo, interrupted, takes its lab away and fails", async () => {
  const { directory } = await testLab();
  onTestFinished(async () => void (await labDown(directory)));
  const demo = spawn(process.execPath, ["scripts/demo.ts", "--dir", directory], {
    cwd: join(import.meta.dirname, "../.."),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = text(demo.stderr);
  for await (const chunk of demo.stdout) {
    if (String(chunk).includes("daemon ready")) demo.kill("SIGTERM");
  }
  if (demo.exitCode === null) await once(demo, "exit");
  expect(demo.exitCode).toBe(1);
  expect(await said).toContain("stopped by SIGTERM");
  expect(traceOfLab(directory)).toEqual([]);
});

test("the demo refuses what it does not know", async () => {
  const demo = spawn(process.execPath, ["scripts/demo.ts", "--kep"], {
    cwd: join(import.meta.dirname, "../.."),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said = await text(demo.stderr);
  if (demo.exitCode === null) await once(demo, "exit");
  expect([demo.exitCode, said]).toEqual([2, expect.stringContaining("usage: ./run demo")]);
});
