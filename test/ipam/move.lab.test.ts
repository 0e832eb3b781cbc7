// A node that moves from host-local to fairlead-ipam and back with its pods running, under Debian's bridge
// plugin and with a daemon on the node: the pods keep their addresses and their files, byte for byte.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  type TestSandbox,
  type TwinNode,
  createSandbox,
  createTwinNode,
  serveOn,
} from "../cni/twin-node.ts";
import { referenceDir } from "./plugin-process.ts";

const root = join(import.meta.dirname, "../..");
const leases = "/var/lib/cni/networks/mynet";

let stack: AsyncDisposableStack;
let node: TwinNode;
let pods: readonly TestSandbox[];
/** CNI_PATH: a link to the launcher under its name, whose home is beside what the link leads to. */
let plugins: string;
beforeAll(() => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
});
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  node = stack.use(await createTwinNode());
  pods = [stack.use(await createSandbox()), stack.use(await createSandbox())];
  plugins = stack.adopt(mkdtempSync(join(tmpdir(), "fairlead-cni-")), (path) =>
    rmSync(path, { recursive: true }),
  );
});
afterEach(() => stack.disposeAsync());

const run = (...command: readonly string[]) => node.run(command, { PATH: process.env["PATH"] });
const files = async (): Promise<string> => {
  const script = `cd ${leases} && for f in *; do printf '%s=' "$f"; od -An -c "$f"; stat -c %a "$f"; done`;
  return (await run("sh", "-c", script)).stdout;
};

async function bridge(type: string, command: string, pod: number, more: object = {}) {
  const conf = {
    cniVersion: "1.0.0",
    name: "mynet",
    type: "bridge",
    bridge: "mynet0",
    isDefaultGateway: true,
    ipam: { type, ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:1:2::/64" }]] },
    ...more,
  };
  const env = {
    PATH: process.env["PATH"],
    CNI_COMMAND: command,
    CNI_CONTAINERID: `pod-${pod}`,
    CNI_IFNAME: "eth0",
    CNI_NETNS: pods[pod]!.path,
    CNI_PATH: `${plugins}:${referenceDir}`,
  };
  const answer = await node.run([`${referenceDir}/bridge`], env, JSON.stringify(conf));
  expect({ ...answer, stdout: answer.status === 0 ? "" : answer.stdout }).toEqual({
    status: 0,
    stdout: "",
    stderr: "",
  });
  return command === "ADD" ? (JSON.parse(answer.stdout) as Result) : { ips: [] };
}

interface Result {
  readonly ips: readonly { readonly address: string }[];
}
const addressesOf = ({ ips }: Result): string[] => ips.map(({ address }) => address);

async function expectReachable(pod: number, address: string): Promise<void> {
  const { stdout } = await run("ping", "-c1", "-W2", address.replace(/\/\d+$/, ""));
  expect({ pod, stdout }).toMatchObject({ stdout: expect.stringContaining(" 0% packet loss") });
}

test.each([
  ["with the daemon", true],
  ["without it", false],
])("from host-local to fairlead-ipam and back, %s", async (_, hasDaemon) => {
  symlinkSync(join(root, "dist/cni/fairlead-ipam"), join(plugins, "fairlead-ipam"));
  if (hasDaemon) (await serveOn(node)).stdout!.resume();
  const first = await bridge("host-local", "ADD", 0);
  expect(addressesOf(first)).toEqual(["10.1.2.2/24", "fd00:1:2::2/64"]);
  const atFirst = await files();

  // Moved: the pod is checked, and neither it nor its files change.
  await bridge("fairlead-ipam", "CHECK", 0, { prevResult: first });
  expect(await files()).toBe(atFirst);
  await expectReachable(0, "10.1.2.2");
  const second = await bridge("fairlead-ipam", "ADD", 1);
  expect(addressesOf(second)).toEqual(["10.1.2.3/24", "fd00:1:2::3/64"]);

  // Back: what each made, the other checks and removes.
  const atMove = await files();
  for (const [pod, prevResult] of [first, second].entries()) {
    await bridge("host-local", "CHECK", pod, { prevResult });
    await expectReachable(pod, `10.1.2.${pod + 2}`);
  }
  expect(await files()).toBe(atMove);
  await bridge("host-local", "DEL", 1, { prevResult: second });
  await bridge("fairlead-ipam", "DEL", 0, { prevResult: first });
  const left = (await run("ls", leases)).stdout.trim().split("\n");
  expect(left).toEqual(["last_reserved_ip.0", "last_reserved_ip.1", "lock"]);

  // The round robin goes on where the other stopped.
  const third = await bridge("host-local", "ADD", 0);
  expect(addressesOf(third)).toEqual(["10.1.2.4/24", "fd00:1:2::4/64"]);
  await bridge("host-local", "DEL", 0);
});
