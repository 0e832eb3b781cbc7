// The same session twice: with a daemon (launcher → socket → handlers) and without (launcher →
// plugin.js). A runtime must not be able to tell them apart.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLauncher } from "./launcher-process.ts";
import {
  type TestSandbox,
  type TwinNode,
  createSandbox,
  createTwinNode,
  serveOn,
} from "./twin-node.ts";
import { type Session, twinRequests } from "./twin-requests.ts";

const root = join(import.meta.dirname, "../..");
const usualLauncher = join(root, "dist/cni/fairlead");

interface Answer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Every request in order; what each one gave. */
async function runSession(
  node: TwinNode,
  launcher: string,
  sandboxes: Session["sandboxes"],
): Promise<Answer[]> {
  const answers: Answer[] = [];
  let lastResult = "{}";
  for (const request of twinRequests) {
    const session = { sandboxes, lastResult };
    const env: Readonly<Record<string, string | undefined>> = {
      ...request.env(session),
      FAIRLEAD_HOME: join(root, "dist/lib"),
    };
    const answer = await node.run([launcher], env, request.stdin(session));
    if (env["CNI_COMMAND"] === "ADD" && answer.status === 0) lastResult = answer.stdout;
    answers.push(answer);
  }
  return answers;
}

const outcomeOf = ({ status, stdout }: Answer): number | "ok" | "broken" => {
  if (status === 0) return "ok";
  const { code } = JSON.parse(stdout) as { code: number };
  return status === 1 ? code : "broken";
};

const sandboxes: TestSandbox[] = [];
const served: string[] = [];
let withDaemon: Answer[] = [];
let withoutDaemon: Answer[] = [];
const leftovers: string[] = [];

beforeAll(async () => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
  sandboxes.push(await createSandbox(), await createSandbox());
  const [first, second] = sandboxes.map(({ path }) => path) as [string, string];
  {
    await using node = await createTwinNode();
    const server = await serveOn(node);
    server.stdout!.on("data", (chunk: Buffer) => served.push(chunk.toString()));
    withDaemon = await runSession(node, usualLauncher, [first, second]);
    leftovers.push(await leftoversOf(node));
  }
  {
    await using node = await createTwinNode();
    // One that does not wait a second for a daemon each time.
    using setup = createLauncher({ retryMs: 0, deadlineMs: 20_000 });
    withoutDaemon = await runSession(node, setup.launcher, [first, second]);
    leftovers.push(await leftoversOf(node));
  }
}, 180_000);
afterAll(async () => {
  for (const sandbox of sandboxes) await sandbox[Symbol.asyncDispose]();
});

// Links, routes, records and leases; last_reserved_ip stays by design.
async function leftoversOf(node: TwinNode): Promise<string> {
  const script = `ip -br link | grep -v -e '^lo ' -e '^uplink'; ip route show proto 76; ip -6 route show proto 76
    ls /run/fairlead/attachments | grep -v lock
    find /var/lib/cni -type f ! -name lock ! -name 'last_reserved_ip.*'`;
  const { stdout } = await node.run(["sh", "-c", script], { PATH: process.env["PATH"] });
  return stdout;
}

test.each(twinRequests.map((request, index) => [request.title, request.expected, index] as const))(
  "%s: %s, and the same octets without a daemon",
  (_, expected, index) => {
    const { stdout, status } = withDaemon[index]!;
    expect({ outcome: outcomeOf(withDaemon[index]!), stdout }).toMatchObject({ outcome: expected });
    expect(withoutDaemon[index]).toMatchObject({ stdout, status });
  },
);

test("the daemon served what it should have", () => {
  const verbs = served.join("").split("\n");
  const handled = twinRequests.filter(({ expected }) => expected === "ok").length;
  // Not VERSION, not the about text, not requests with another's IPAM.
  expect(verbs.filter((line) => line.startsWith("served")).length).toBeGreaterThan(handled - 10);
});

test("nothing is left on either node", () => {
  expect(leftovers).toEqual(["", ""]);
});
