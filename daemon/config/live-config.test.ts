import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { Config } from "./config.ts";
import { LiveConfig, liveKeys } from "./live-config.ts";

const waiting = { timeout: 10_000, interval: 2 };

function open(yaml: string) {
  const where = join(temporaryDirectory(), "fairlead.yaml");
  writeFileSync(where, yaml);
  const timing = { quietMs: 1, atMostMs: 5, everyMs: 60_000 };
  const config = new LiveConfig({ path: where, where, timing });
  onTestFinished(() => config[Symbol.dispose]());
  const seen: Config[] = [];
  config.subscribe((next) => seen.push(next));
  config.follow(silentLog);
  const write = (text: string): void => writeFileSync(where, text);
  const messages = (): string[] => config.problems.map(({ message }) => message);
  return { config, where, seen, write, messages };
}

test("takes over what takes effect at once, and says so of nothing else", async () => {
  const { config, seen, write, messages } = open("log: { level: warn }");
  expect([seen, config.current.log.level]).toEqual([[], "warn"]);
  write(`network: { masquerade: { except: [192.0.2.0/24] } }
dns: { upstreams: [192.0.2.53] }`);
  await vi.waitFor(() => expect(config.current.log.level).toBe("info"), waiting);
  expect(config.current.network.masquerade).toEqual({ isEnabled: true, except: ["192.0.2.0/24"] });
  expect(config.current.dns.upstreams).toEqual([{ address: "192.0.2.53", port: 53 }]);
  expect([seen, messages()]).toEqual([[config.current], []]);
});

test("names every key that waits for the next start, until it is as before", async () => {
  const { config, where, seen, write, messages } = open("");
  write(`network: { mtu: 1400, vxlan: { vni: 7 }, masquerade: { enabled: false } }
metrics: { listen: 127.0.0.1:9999 }`);
  await vi.waitFor(() => expect(messages()).toHaveLength(3), waiting);
  expect(messages()).toEqual(
    ["network.vxlan.vni", "network.mtu", "metrics.listen"].map(
      (key) => `The change of ${key} in ${where} takes effect at the next start`,
    ),
  );
  const { network } = config.current;
  expect([network.mtu, network.vxlan.vni, network.masquerade.isEnabled]).toEqual([
    "auto",
    1,
    false,
  ]);
  write("");
  await vi.waitFor(() => expect(messages()).toEqual([]), waiting);
  expect(seen).toHaveLength(2);
});

test("keeps what was in force while the file is broken or gone, and names why", async () => {
  const { config, where, seen, write, messages } = open("log: { level: warn }");
  write("log: { level: loud }");
  await vi.waitFor(
    () => expect(messages()[0]).toContain(`${where}:1: Cannot use log.level "loud"`),
    waiting,
  );
  expect(messages()[0]).toContain("(the configuration before stays in force)");
  rmSync(where);
  await vi.waitFor(() => expect(messages()[0]).toContain("Cannot read the configuration"), waiting);
  expect([config.current.log.level, seen]).toEqual(["warn", []]);
  write("log: { level: warn }");
  await vi.waitFor(() => expect(messages()).toEqual([]), waiting);
});

test("has these keys take effect at once", () => {
  expect(liveKeys).toEqual(["network.masquerade", "dns.upstreams", "log.level"]);
});
