// What pods and runtimes notice of a daemon that stops, is killed, starts and is given another
// configuration: nothing, by counting packets, connections and requests.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { artifacts } from "../../cli/home.ts";
import { type TestLab, testLab } from "../support/lab.ts";
import type { FlowCount } from "./flow.ts";
import type { RestartFigures } from "./restart-node.ts";

const root = join(import.meta.dirname, "../..");
const program = (name: string): string[] => [process.execPath, join(import.meta.dirname, name)];

let lab: TestLab;
beforeAll(async () => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
  lab = await testLab();
  succeed("up");
  for (const node of ["node-a", "node-b", "node-c"]) {
    succeed("pod", "add", `flow-${node}`, "--node", node);
  }
});
afterAll(() => void lab.run("down"));

function succeed(...args: readonly string[]): void {
  const { status, stderr } = lab.run(...args);
  if (status !== 0) throw new Error(stderr);
}

const start = (name: string, ...command: readonly string[]) =>
  spawn(artifacts.command, ["lab", "exec", "--dir", lab.directory, name, "--", ...command], {
    stdio: ["pipe", "pipe", "inherit"],
  });

function addressOf(pod: string): string {
  const line = lab.run("exec", pod, "--", "ip", "-4", "-o", "address", "show", "eth0").stdout;
  return /inet ([\d.]+)\//.exec(line)![1]!;
}

test("no packet, no connection and no request is lost while daemons are restarted", async () => {
  const servers = ["flow-node-b", "flow-node-c"].map((pod) =>
    start(pod, ...program("flow.ts"), "serve"),
  );
  for (const server of servers) await once(server.stdout, "data");
  const flows = ["flow-node-b", "flow-node-c"].map((pod) =>
    start("flow-node-a", ...program("flow.ts"), "send", addressOf(pod)),
  );
  const counts = flows.map((flow) => text(flow.stdout));
  const words = ["5", join(artifacts.plugins, "fairlead"), artifacts.command];
  const restarted = await Promise.all(
    ["node-a", "node-c"].map(async (node) => {
      const figures = await text(start(node, ...program("restart-node.ts"), ...words).stdout);
      return JSON.parse(figures) as RestartFigures;
    }),
  );
  for (const flow of flows) flow.stdin.end();
  const counted = (await Promise.all(counts)).map((count) => JSON.parse(count) as FlowCount);
  for (const server of servers) server.kill("SIGKILL");
  process.stdout.write(`${JSON.stringify({ counted, restarted })}\n`);
  for (const { restarts, requests, failures } of restarted) {
    expect([restarts, failures]).toEqual([6, []]);
    expect(requests).toBeGreaterThan(20);
  }
  for (const { sent, returned, connections, failed } of counted) {
    expect(sent).toBeGreaterThan(1000);
    expect(connections).toBeGreaterThan(20);
    expect([sent - returned, failed]).toEqual([0, 0]);
  }
}, 240_000);
