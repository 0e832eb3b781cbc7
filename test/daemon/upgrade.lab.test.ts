// What an older version left, whose files lacked fields and whose nftables table had other chains: this one
// takes it over under a running ping, and pods' ends, addresses and hostPorts are what they were.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { paths } from "../../core/paths.ts";
import { openKernel } from "../../kernel/linux.ts";
import { attachPods } from "./heal-pods.ts";
import { lastingRules } from "./lasting-rules.ts";
import { TestMachine } from "./node-process.ts";

const demo = join(import.meta.dirname, "../../conf/demo");
/** As an older version wrote it, of pods 10.244.1.2 to .4. */
const olderTable = join(import.meta.dirname, "fixture/older-table.nft");
const laterFacts = ["clusterCidrs", "serviceCidrs", "isSticky"];
const waiting = { timeout: 20_000, interval: 20 };

test("takes over what an older version left, and no packet is lost", async () => {
  await using machine = await TestMachine.open();
  for (const name of readdirSync(demo)) {
    machine.write(`/etc/fairlead/cluster.d/${name}`, readFileSync(join(demo, name), "utf8"));
  }
  const inside = (path: string): string => readFileSync(machine.path(path), "utf8");
  // Chains that are new come last.
  const table = (): string =>
    lastingRules(machine.run("nft", "list", "ruleset"))
      .split("\n")
      .toSorted()
      .join("\n");
  const ends = (): string =>
    ["link", "route", "neighbor"].map((kind) => machine.run("ip", kind, "show")).join("");

  const first = machine.startDaemon();
  await machine.ready();
  using kernel = openKernel({ namespace: machine.network });
  attachPods(machine, kernel, 3);
  await vi.waitFor(() => expect(table()).toContain("10.244.1.4 . 80"), waiting);
  first.kill("SIGKILL");
  await first.ended;
  const [rules, wired, facts] = [table(), ends(), inside(paths.nodeFacts)];

  const older = Object.entries(JSON.parse(facts) as Record<string, unknown>).filter(
    ([key]) => !laterFacts.includes(key),
  );
  machine.write(paths.nodeFacts, JSON.stringify(Object.fromEntries(older)));
  const said = machine.run("sh", "-c", `nft flush ruleset && nft -f ${olderTable}`);
  expect([said, table() === rules]).toEqual(["", false]);

  const ping = "ip netns exec pod-0 ping -i 0.01 -q 10.244.1.3";
  machine.run("sh", "-c", `${ping} >/run/pinged 2>&1 & echo $! >/run/ping.pid`);
  machine.startDaemon();
  const { problems, attachments } = await machine.ready();
  expect([problems, attachments]).toEqual([[], 3]);
  await vi.waitFor(() => expect(table()).toBe(rules), waiting);
  machine.run("sh", "-c", "kill -INT $(cat /run/ping.pid)");
  await vi.waitFor(() => expect(inside("/run/pinged")).toContain("packet loss"), waiting);
  expect(inside("/run/pinged")).toContain(" 0% packet loss");
  expect(ends()).toBe(wired);
  expect(inside(paths.nodeFacts)).toBe(facts);
});
