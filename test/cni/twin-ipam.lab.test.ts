// fairlead-ipam with a daemon (launcher → socket → handlers) and without (launcher → ipam.js): the same
// session on two nodes. A main plugin must not be able to tell them apart.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ownIpamType } from "../../core/cni/config.ts";
import { cniVersions } from "../../core/cni/types.ts";
import { canStandIn } from "../../daemon/cni/stand-in.ts";
import { type TwinNode, createTwinNode, serveOn } from "./twin-node.ts";

const root = join(import.meta.dirname, "../..");
const launcher = join(root, "dist/cni/fairlead-ipam");

interface IpamRequest {
  readonly title: string;
  readonly command: string;
  readonly expected: number | "ok";
  readonly conf: object;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

const small = { subnet: "10.9.1.0/29" };
const attachments = "cni.dev/valid-attachments";
const request = (
  title: string,
  command: string,
  expected: number | "ok",
  more: Partial<IpamRequest> = {},
): IpamRequest => ({ title, command, expected, conf: {}, ...more });
const ipam = (value: object, more: object = {}) => ({
  conf: { name: "other", ipam: value, ...more },
});
const container = (id: string) => ({ CNI_CONTAINERID: id });

const requests: readonly IpamRequest[] = [
  request("ADD on the node's network", "ADD", "ok"),
  request("ADD again", "ADD", "ok"),
  request("CHECK", "CHECK", "ok"),
  request("STATUS", "STATUS", "ok"),
  request("DEL", "DEL", "ok"),
  request("DEL again", "DEL", "ok"),
  request("CHECK of what is gone", "CHECK", 102),
  request("ADD to another network without ranges", "ADD", 7, { conf: { name: "other" } }),
  request("ADD under host-local's name, with routes", "ADD", "ok", {
    ...ipam({ type: "host-local", ranges: [[small]], routes: [{ dst: "0.0.0.0/0" }] }),
  }),
  request("ADD of an address of choice", "ADD", "ok", {
    ...ipam(small),
    env: { ...container("b"), CNI_ARGS: "IP=10.9.1.6" },
  }),
  request("ADD of one that is taken", "ADD", 7, {
    ...ipam(small),
    env: { ...container("c"), CNI_ARGS: "IP=10.9.1.6" },
  }),
  ...["c", "d", "e"].map((id) =>
    request(`ADD of ${id}`, "ADD", "ok", { ...ipam(small), env: container(id) }),
  ),
  request("ADD to a full range", "ADD", 100, { ...ipam(small), env: container("f") }),
  request("STATUS of a full range", "STATUS", 50, ipam(small)),
  request("GC without a list", "GC", "ok", ipam(small)),
  request(
    "GC with a list",
    "GC",
    "ok",
    ipam(small, { [attachments]: [{ containerID: "d", ifname: "eth0" }] }),
  ),
  request("ADD after it", "ADD", "ok", { ...ipam(small), env: container("f") }),
  request("ADD with a resolv.conf", "ADD", "ok", {
    ...ipam({ ...small, resolvConf: "/etc/resolv.conf" }),
    env: container("g"),
  }),
  request("ADD with one that is not there", "ADD", 7, {
    ...ipam({ ...small, resolvConf: "/etc/no-such-file" }),
    env: container("h"),
  }),
  request("ADD below another directory", "ADD", "ok", ipam({ ...small, dataDir: "/run/leases" })),
  request("ADD below a relative one", "ADD", 7, ipam({ ...small, dataDir: "leases" })),
  request("DEL below a relative one", "DEL", "ok", ipam({ ...small, dataDir: "leases" })),
  request("ADD below a file", "ADD", 5, ipam({ ...small, dataDir: "/etc/passwd" })),
  request("GC with a list of none", "GC", "ok", ipam(small, { [attachments]: null })),
  ...cniVersions.flatMap((cniVersion) => [
    request(`ADD in ${cniVersion}`, "ADD", "ok", { conf: { cniVersion } }),
    request(`DEL in ${cniVersion}`, "DEL", "ok", { conf: { cniVersion } }),
  ]),
  request("ADD of two of a family, in an old version", "ADD", 7, {
    ...ipam({ ranges: [[small], [{ subnet: "10.9.2.0/24" }]] }, { cniVersion: "0.2.0" }),
  }),
  request("ADD with a range that is none", "ADD", 7, ipam({ subnet: "10.9.1.1/24" })),
  request("an unknown verb", "NOPE", 4),
  request("no container id", "ADD", 4, { env: container("") }),
  request("no input", "ADD", 6, { stdin: "" }),
  request("an unknown version", "ADD", 1, { conf: { cniVersion: "9.9.9" } }),
  request("VERSION", "VERSION", "ok"),
  request("no verb", "", "ok"),
];

interface Answer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ask(
  node: TwinNode,
  { command, env, conf, stdin }: IpamRequest,
  within: readonly string[] = [],
) {
  const environment = {
    PATH: process.env["PATH"],
    CNI_COMMAND: command,
    CNI_CONTAINERID: "a",
    // A path that nobody can open: it does not concern an IPAM plugin.
    CNI_NETNS: "/etc/passwd/net",
    CNI_IFNAME: "eth0",
    CNI_PATH: "/usr/lib/cni",
    FAIRLEAD_HOME: join(root, "dist/lib"),
    ...env,
  };
  const own = {
    cniVersion: "1.1.0",
    name: "fairlead",
    type: "bridge",
    ipam: { type: ownIpamType },
  };
  return node.run(
    [...within, "env", "--chdir=/run", launcher],
    environment,
    stdin ?? JSON.stringify({ ...own, ...conf }),
  );
}

/** Every request in order, then the lease files. */
async function runSession(node: TwinNode): Promise<{ answers: Answer[]; files: string }> {
  const answers: Answer[] = [];
  for (const one of requests) answers.push(await ask(node, one));
  // Journals hold times and namespaces, which are each node's own.
  const script = "grep -r --exclude-dir=.fairlead . /var/lib/cni /run/leases | sort";
  const { stdout } = await node.run(["sh", "-c", script], { PATH: process.env["PATH"] });
  return { answers, files: stdout };
}

const outcomeOf = ({ status, stdout }: Answer): number | "ok" | "broken" => {
  if (status === 0) return "ok";
  return status === 1 ? (JSON.parse(stdout) as { code: number }).code : "broken";
};

const servedOf = (lines: readonly string[]): number => lines.join("").split("served").length - 1;

let served = 0;
let withDaemon: Awaited<ReturnType<typeof runSession>>;
let alone: Awaited<ReturnType<typeof runSession>>;
beforeAll(async () => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
  {
    await using node = await createTwinNode();
    const lines: string[] = [];
    const server = await serveOn(node);
    server.stdout!.on("data", (chunk: Buffer) => lines.push(chunk.toString()));
    withDaemon = await runSession(node);
    served = servedOf(lines);
  }
  {
    await using node = await createTwinNode();
    alone = await runSession(node);
  }
}, 120_000);

test.each(requests.map(({ title, expected }, index) => [title, expected, index] as const))(
  "%s: %s, and the same octets without a daemon",
  (_, expected, index) => {
    const { stdout, status } = withDaemon.answers[index]!;
    const outcome = outcomeOf(withDaemon.answers[index]!);
    expect({ outcome, stdout }).toMatchObject({ outcome: expected });
    expect(alone.answers[index]).toMatchObject({ stdout, status });
  },
);

test("the same is on disk", () => {
  expect(withDaemon.files).toContain("last_reserved_ip.0");
  expect(alone.files).toBe(withDaemon.files);
});

test("the daemon served what concerns its files, and no more", () => {
  // Not VERSION, the about text, and six that are refused before any handler.
  expect(served).toBe(requests.length - 8);
});

describe("a caller that does not see the daemon's files", () => {
  const request24 = request("ADD", "ADD", "ok", ipam({ subnet: "10.9.3.0/24" }));
  let node: TwinNode;
  const lines: string[] = [];
  beforeAll(async () => {
    node = await createTwinNode();
    const server = await serveOn(node);
    server.stdout!.on("data", (chunk: Buffer) => lines.push(chunk.toString()));
  });
  afterAll(() => node[Symbol.asyncDispose]());

  test("in another mount namespace is served from its own", async () => {
    expect(await ask(node, request24)).toMatchObject({ status: 0 });
    expect(servedOf(lines)).toBe(1);
    const script = `mount -t tmpfs none /var/lib; "$@"; cat /var/lib/cni/networks/other/10.9.3.2`;
    const within = ["unshare", "--mount", "sh", "-c", script, "sh"];
    const { stdout } = await ask(node, { ...request24, env: container("inner") }, within);
    expect(stdout).toContain('"10.9.3.2/24"');
    expect(stdout).toContain("inner\r\neth0");
    expect(servedOf(lines)).toBe(1);
  });
});

describe("canStandIn()", () => {
  const conf = { type: ownIpamType, ranges: [], routes: [], requestedIps: [] };
  test.each([
    [{}, true],
    [{ dataDir: "/var/lib/cni/networks" }, true],
    [{ dataDir: "/run/ipam-state" }, true],
    [{ dataDir: "" }, false],
    [{ dataDir: "leases" }, false],
    [{ dataDir: "/mnt/far/leases" }, false],
    [{ dataDir: "/var/lib/../../mnt" }, false],
    [{ dataDir: "/proc/self/cwd" }, false],
    [{ resolvConf: "/etc/resolv.conf" }, true],
    [{ resolvConf: "/etc/no-such-file" }, true],
    [{ resolvConf: "/dev/stdin" }, false],
    [{ resolvConf: "/etc" }, false],
  ])("for %j: %s", (more, expected) => {
    expect(canStandIn(process.pid, { ...conf, ...more })).toBe(expected);
  });

  test("not for a process that is gone", () => {
    expect(canStandIn(2 ** 22 + 1, conf)).toBe(false);
  });

  test("not for one in another mount namespace", async () => {
    await using node = await createTwinNode();
    const { pid } = await node.start(["sh", "-c", "echo ready; exec cat"]);
    expect(canStandIn(pid!, conf)).toBe(false);
  });

  test("not for one with another root", async () => {
    const directory = mkdtempSync(join(tmpdir(), "fairlead-root-"));
    // A static program, which waits for its input.
    copyFileSync(launcher, join(directory, "waits"));
    const child = spawn("chroot", [directory, "/waits"], {
      env: { PATH: `${process.env["PATH"]}:/usr/sbin`, CNI_COMMAND: "ADD" },
    });
    const ended = once(child, "exit");
    try {
      await expect.poll(() => canStandIn(child.pid!, conf)).toBe(false);
      expect(child.exitCode).toBeNull();
    } finally {
      child.kill();
      await ended;
      rmSync(directory, { recursive: true });
    }
  });
});
