// What a runtime never comes back for is freed by the daemon, and on demand.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatEvent, parseEvent } from "../../ipam/journal-event.ts";
import { TestMachine } from "./node-process.ts";

const root = join(import.meta.dirname, "../..");
const demo = join(root, "conf/demo");

test("gc ends an attachment whose sandbox is gone, after two looks and not in a dry run", () => {
  const namespaces = ["--pid", "--fork", "--mount", "--mount-proc", "--net"];
  const script = `mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib; mount -t sysfs sysfs /sys
    "$@"`;
  const scenario = join(import.meta.dirname, "forgotten-scenario.ts");
  const words = ["sh", "-ec", script, "sh", process.execPath, scenario];
  const said = execFileSync("unshare", [...namespaces, "--propagation", "private", ...words], {
    encoding: "utf8",
    timeout: 60_000,
  });
  const gone = ["attachment leaves: its sandbox is gone"];
  const left = { problems: [], holders: ["stays"], records: 1 };
  expect(JSON.parse(said)).toEqual([
    { said: gone, problems: [], holders: ["leaves", "stays"], records: 2 },
    { said: gone, ...left },
    { said: [], ...left },
    { said: [], ...left, problems: [expect.stringContaining("Cannot tell which sandboxes live")] },
  ]);
}, 60_000);

test("the daemon's status tells the lease of an earlier boot that it freed", async () => {
  await using machine = await TestMachine.open();
  for (const name of readdirSync(demo)) {
    machine.write(`/etc/fairlead/cluster.d/${name}`, readFileSync(join(demo, name), "utf8"));
  }
  machine.write("/etc/fairlead/fairlead.yaml", "network: { ipam: { leaseGraceSeconds: 1 } }\n");
  const ipam = { type: "fairlead-ipam", ranges: [[{ subnet: "10.9.0.0/24" }]] };
  machine.write(
    "/run/conf.json",
    JSON.stringify({ cniVersion: "1.0.0", name: "other", type: "bridge", ipam }),
  );
  const environment = [
    "CNI_COMMAND=ADD",
    "CNI_CONTAINERID=old",
    "CNI_IFNAME=eth0",
    "CNI_NETNS=/run/netns/none",
    "CNI_PATH=/usr/lib/cni",
  ];
  const program = ["env", ...environment, process.execPath, join(root, "ipam/main.ts")];
  expect(machine.run("sh", "-c", '"$@" </run/conf.json', "sh", ...program)).toContain("10.9.0.2");
  const journal = machine.path("/var/lib/fairlead/leases/other");
  const given = { bootId: "an-earlier-one", elapsedMs: 1000, wallMs: 1000 };
  const lines = readFileSync(journal, "utf8").split("\n").slice(0, -1).map(parseEvent);
  const earlier = lines.flatMap((event) =>
    event?.kind === "given" ? { ...event, details: { ...event.details, given } } : (event ?? []),
  );
  writeFileSync(journal, earlier.map(formatEvent).join(""));
  machine.startDaemon();
  const { sweep } = await machine.status((report) => report.sweep.freed.length > 0, 30_000);
  expect(sweep.freed).toMatchObject([
    { kind: "lease", network: "other", addresses: ["10.9.0.2"], why: "of an earlier boot" },
  ]);
  expect(readdirSync(machine.path("/var/lib/cni/networks/other"))).not.toContain("10.9.0.2");
}, 60_000);
