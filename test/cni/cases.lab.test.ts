// What real runtimes send and do, each case through the launcher on a node that serves requests as the
// daemon does. Every case ends with nothing left on the node. The names before the titles are those that
// the other tests of the protocol, of results and of leases have too.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  type Outcome,
  type TestSandbox,
  type TwinNode,
  createSandbox,
  createTwinNode,
  serveOn,
} from "./twin-node.ts";

const root = join(import.meta.dirname, "../..");
const launcher = join(root, "dist/cni/fairlead");

let node: TwinNode;
let directory: string;
beforeAll(async () => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
  directory = mkdtempSync(join(tmpdir(), "fairlead-cases-"));
  node = await createTwinNode();
  await serveOn(node);
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});
// Interfaces are removed after DEL has answered.
afterEach(() => vi.waitFor(async () => assert.equal(await leftovers(), ""), { timeout: 30_000 }));

const leftovers = () =>
  shell(`ip -br link | grep -v -e '^lo ' -e '^uplink'; ip route show proto 76; ip -6 route show proto 76
    ls /run/fairlead/attachments 2>/dev/null
    find /var/lib/cni -type f ! -name lock ! -name 'last_reserved_ip.*'`);

const shell = async (script: string): Promise<string> =>
  (await node.run(["sh", "-c", script], { PATH: process.env["PATH"] })).stdout;

interface Asked {
  readonly id?: string;
  readonly netns?: string;
  readonly conf?: object;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly plugin?: string;
}

async function ask(command: string, asked: Asked = {}): Promise<Outcome> {
  const { id = "pod", netns = "", conf, env, plugin = launcher } = asked;
  const stdin = { cniVersion: "1.1.0", name: "fairlead", type: "fairlead", ...conf };
  const variables = {
    PATH: process.env["PATH"],
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_NETNS: netns,
    CNI_IFNAME: "eth0",
    CNI_PATH: `/usr/lib/cni:${directory}`,
    FAIRLEAD_HOME: join(root, "dist/lib"),
    ...env,
  };
  return await node.run([plugin], variables, JSON.stringify(stdin));
}

async function result(command: string, asked: Asked = {}): Promise<Record<string, unknown>> {
  const outcome = await ask(command, asked);
  expect(outcome).toMatchObject({ status: 0 });
  return outcome.stdout === "" ? {} : JSON.parse(outcome.stdout);
}

async function failure(command: string, asked: Asked = {}) {
  const { status, stdout } = await ask(command, asked);
  expect(status).toBe(1);
  return JSON.parse(stdout) as { code: number; msg: string; details?: string };
}

const inSandbox = ({ path }: TestSandbox, ...words: readonly string[]): string =>
  execFileSync("nsenter", [`--net=${path}`, ...words], { encoding: "utf8" });

describe("the environment", () => {
  test("disp-04: answers a call with nothing at all with its version, in well under 3 s", async () => {
    const startedAt = performance.now();
    const { status, stdout, stderr } = await node.run([launcher]);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    expect(status).toBe(0);
    // As Nomad reads it: standard output and error together, cut at blanks.
    const token = `${stdout}${stderr}`.split(/\s+/).find((word) => /^v?\d+\.\d+\.\d+/.test(word));
    expect(token).toBe("0.1.0");
  });

  test("disp-31: takes a container id of 300 characters through ADD, CHECK and DEL", async () => {
    await using sandbox = await createSandbox();
    const pod = { id: "a".repeat(300), netns: sandbox.path };
    const prevResult = await result("ADD", pod);
    await result("CHECK", { ...pod, conf: { prevResult } });
    await result("DEL", pod);
  });

  test.each(["1", "TRUE", "true"])(
    "disp-78: CNI_NETNS_OVERRIDE=%s allows the node itself",
    async (given) => {
      const env = { CNI_NETNS_OVERRIDE: given, CNI_IFNAME: "own0" };
      const own = { netns: "/proc/self/ns/net", env };
      expect((await result("ADD", own))["ips"]).toHaveLength(2);
      await result("DEL", own);
    },
  );

  test("disp-79: refuses a regular file as CNI_NETNS", async () => {
    expect((await failure("ADD", { netns: "/etc/passwd" })).code).toBe(4);
  });

  test.each(["/run/netns/none", "/proc/4194304/ns/net"])(
    "disp-81, disp-82: DEL succeeds for the sandbox %s that is gone",
    async (netns) => expect(await ask("DEL", { netns })).toMatchObject({ status: 0, stdout: "" }),
  );

  test('result-12: answers cniVersion "" in the shape of 0.1.0', async () => {
    await using sandbox = await createSandbox();
    const pod = { netns: sandbox.path, conf: { cniVersion: "" } };
    expect(await result("ADD", pod)).toMatchObject({
      cniVersion: "0.1.0",
      ip4: { ip: expect.any(String) },
    });
    await result("DEL", pod);
  });
});

describe("a delegated IPAM plugin", () => {
  const answer = { cniVersion: "1.0.0", ips: [{ address: "10.9.0.7/24" }] };
  /** One that keeps what it is asked, and answers ADD so. */
  function recorder(reply: object, status = 0) {
    const [file, said] = [join(directory, "recorder"), join(directory, "said")];
    rmSync(said, { force: true });
    writeFileSync(`${file}.json`, JSON.stringify(reply));
    writeFileSync(
      file,
      `#!/bin/sh
{ printf '%s ' "$CNI_COMMAND"; cat; echo; } >>${said}
[ "$CNI_COMMAND" != ADD ] || { cat ${file}.json; exit ${status}; }
`,
    );
    chmodSync(file, 0o755);
    return () => (existsSync(said) ? readFileSync(said, "utf8").trim().split("\n") : []);
  }
  const conf = { cniVersion: "1.0.0", ipam: { type: "recorder" } };
  const verbs = (said: readonly string[]): string[] => said.map((line) => line.split(" ")[0]!);

  test("deleg-02: sees the verb that is delegated: DEL within an ADD that fails", async () => {
    await using sandbox = await createSandbox();
    inSandbox(sandbox, "ip", "link", "add", "eth0", "type", "bridge");
    const said = recorder(answer);
    expect((await failure("ADD", { netns: sandbox.path, conf })).code).toBe(101);
    expect(verbs(said())).toEqual(["ADD", "DEL"]);
  });

  test("deleg-03: that is missing is named", async () => {
    await using sandbox = await createSandbox();
    const { msg } = await failure("ADD", {
      netns: sandbox.path,
      conf: { ipam: { type: "nowhere" } },
    });
    expect(msg).toContain("nowhere");
  });

  test("deleg-05: holds as many addresses after a failed ADD as before", async () => {
    await using sandbox = await createSandbox();
    inSandbox(sandbox, "ip", "link", "add", "eth0", "type", "bridge");
    const ipam = { type: "host-local", subnet: "10.7.0.0/24" };
    const pod = { netns: sandbox.path, conf: { cniVersion: "1.0.0", ipam } };
    expect((await failure("ADD", pod)).code).toBe(101);
    expect(await shell("find /var/lib/cni -name '10.7.*'")).toBe("");
  });

  test("deleg-06: keeps its code", async () => {
    await using sandbox = await createSandbox();
    recorder({ cniVersion: "1.0.0", code: 11, msg: "busy" }, 1);
    expect(await failure("ADD", { netns: sandbox.path, conf })).toMatchObject({ code: 11 });
  });

  test.each([
    [
      "deleg-08: with an index into no interfaces",
      { ...answer, ips: [{ address: "10.9.0.7/24", interface: 0 }] },
    ],
    ["deleg-09: without an index", answer],
  ])("%s gives the pod's interface its address", async (_, reply) => {
    await using sandbox = await createSandbox();
    recorder(reply);
    const pod = { netns: sandbox.path, conf };
    expect((await result("ADD", pod))["ips"]).toMatchObject([
      { address: "10.9.0.7/32", interface: 1 },
    ]);
    await result("DEL", pod);
  });

  test("deleg-11: leads a route without a gateway through the next hop", async () => {
    await using sandbox = await createSandbox();
    recorder({ ...answer, routes: [{ dst: "10.0.0.0/8" }] });
    const pod = { netns: sandbox.path, conf };
    await result("ADD", pod);
    expect(inSandbox(sandbox, "ip", "route")).toContain("10.0.0.0/8 via 169.254.1.1 dev eth0");
    await result("DEL", pod);
  });

  test("deleg-12: an IPv6 address outlives its interface's down and up, and CHECK puts the rest back", async () => {
    await using sandbox = await createSandbox();
    const pod = { netns: sandbox.path };
    const prevResult = await result("ADD", pod);
    const addresses = () => inSandbox(sandbox, "ip", "-o", "address", "show", "dev", "eth0");
    const before = addresses();
    expect(before).toContain(" inet6 fd00:10:244:1:");
    for (const state of ["down", "up"]) inSandbox(sandbox, "ip", "link", "set", "eth0", state);
    expect(addresses()).toBe(before);
    await result("CHECK", { ...pod, conf: { prevResult } });
    const ips = prevResult["ips"] as readonly { readonly address: string }[];
    for (const { address } of ips)
      await shell(`ping -c1 -W2 ${address.split("/")[0]} || echo lost`).then((said) =>
        expect(said).not.toContain("lost"),
      );
    await result("DEL", pod);
  });

  test("deleg-14: gets GC with the same input", async () => {
    const said = recorder(answer);
    const list = { "cni.dev/valid-attachments": null };
    await result("GC", { conf: { ipam: conf.ipam, ...list } });
    const [line = ""] = said();
    expect(JSON.parse(line.slice("GC ".length))).toMatchObject({ ipam: conf.ipam, ...list });
  });
});

describe("a runtime", () => {
  /** What answers on the node's port, from the node itself; "" when nothing does. */
  const answerOf = async (protocol: string, port: number): Promise<string> => {
    const exchange = `exec 3<>/dev/${protocol}/192.0.2.1/${port}; echo >&3; head -n1 <&3`;
    return (await shell(`timeout 20 bash -c '${exchange}' 2>/dev/null`)).trim();
  };
  const echo = (sandbox: TestSandbox, port: number) => {
    const program = join(root, "test/attach/echo.ts");
    const command = `nsenter --net=${sandbox.path} ${process.execPath} ${program} pod ${port}`;
    return node.start(["sh", "-c", `${command} & cat; kill $!`]);
  };
  const mapElements = () => shell("nft list table inet fairlead | grep -o '20080 : [^ ,]*'");

  test("rt-01: may spell portMappings as Go does, with an empty HostIP (containerd)", async () => {
    await using sandbox = await createSandbox();
    const port = { HostPort: 20080, ContainerPort: 8080, Protocol: "tcp", HostIP: "" };
    const pod = { netns: sandbox.path, conf: { runtimeConfig: { portMappings: [port] } } };
    await result("ADD", pod);
    await echo(sandbox, 8080);
    expect(await answerOf("tcp", 20080)).toMatch(/^pod /);
    await result("DEL", pod);
    expect(await mapElements()).toBe("");
  });

  test("rt-07: may list every port for both protocols (nomad), and each is opened", async () => {
    await using sandbox = await createSandbox();
    const port = { HostPort: 20080, ContainerPort: 8080, HostIP: "" };
    const portMappings = ["tcp", "udp"].map((Protocol) => ({ ...port, Protocol }));
    const pod = { netns: sandbox.path, conf: { runtimeConfig: { portMappings } } };
    await result("ADD", pod);
    await echo(sandbox, 8080);
    for (const protocol of ["tcp", "udp"]) expect(await answerOf(protocol, 20080)).toMatch(/^pod /);
    // Without arguments, as nomad sends it.
    await result("DEL", { netns: sandbox.path });
    expect(await mapElements()).toBe("");
  });

  test("rt-04: may leave `capabilities` in the input", async () => {
    await using sandbox = await createSandbox();
    const pod = { netns: sandbox.path, conf: { capabilities: { portMappings: true, nothing: 5 } } };
    await result("ADD", pod);
    await result("DEL", pod);
  });

  test("rt-05: may add lo and eth0 of a container at once", async () => {
    await using sandbox = await createSandbox();
    const pod = { netns: sandbox.path };
    const lo = {
      ...pod,
      plugin: "/usr/lib/cni/loopback",
      conf: { cniVersion: "1.0.0", name: "lo", type: "loopback" },
      env: { CNI_IFNAME: "lo" },
    };
    await Promise.all([result("ADD", lo), result("ADD", pod)]);
    await result("CHECK", { ...pod, conf: { prevResult: await result("ADD", pod) } });
    await Promise.all([result("DEL", lo), result("DEL", pod)]);
  });

  test("rt-08: may repeat an ADD that failed, without a DEL, in the same sandbox", async () => {
    await using sandbox = await createSandbox();
    const pod = { netns: sandbox.path };
    inSandbox(sandbox, "ip", "link", "add", "eth0", "type", "bridge");
    expect((await failure("ADD", pod)).code).toBe(101);
    inSandbox(sandbox, "ip", "link", "delete", "eth0");
    await result("ADD", pod);
    await result("DEL", pod);
  });

  test("rt-10: may send a DEL of an unknown container before each ADD", async () => {
    await using sandbox = await createSandbox();
    for (let start = 0; start < 3; start++) {
      await result("DEL");
      await result("ADD", { netns: sandbox.path });
      await result("DEL");
    }
  });

  test("rt-11: may send DEL without a sandbox while the container runs, which loses its network", async () => {
    await using sandbox = await createSandbox();
    await result("ADD", { netns: sandbox.path });
    await result("DEL");
    await expect.poll(leftovers).toBe("");
    expect(inSandbox(sandbox, "ip", "-br", "link")).toMatch(/^lo [^\n]*\n$/);
  });

  test("rt-13: may CHECK right after ADD", async () => {
    await using sandbox = await createSandbox();
    const pod = { netns: sandbox.path };
    await result("CHECK", { ...pod, conf: { prevResult: await result("ADD", pod) } });
    await result("DEL", pod);
  });

  const key = (containerID: string) => ({ containerID, ifname: "eth0" });
  test.each([
    ["rt-14: under the older key alone", { "cni.dev/attachments": [key("a")] }, ["a"]],
    [
      "rt-16: under both keys, which add up",
      { "cni.dev/attachments": [key("a")], "cni.dev/valid-attachments": [key("b")] },
      ["a", "b"],
    ],
    [
      "rt-17: with other letters and more members than it should have",
      {
        "cni.dev/valid-attachments": [{ ContainerID: "b", IfName: "eth0", more: { than: "this" } }],
      },
      ["b"],
    ],
  ])("may list its attachments for GC %s", async (_, conf, kept) => {
    const ids = ["a", "b", "c"];
    const sandboxes = await Promise.all(ids.map(() => createSandbox()));
    try {
      for (const [at, id] of ids.entries()) await result("ADD", { id, netns: sandboxes[at]!.path });
      await result("GC", { conf });
      const leases = await shell("cat /var/lib/cni/networks/fairlead/10.*");
      expect(ids.filter((id) => leases.includes(`${id}\r\n`))).toEqual(kept);
      for (const id of ids) await result("DEL", { id });
    } finally {
      for (const sandbox of sandboxes) await sandbox[Symbol.asyncDispose]();
    }
  });

  test("rt-22: never executes half of a plugin that is being replaced", async () => {
    const plugin = join(directory, "fairlead");
    const replace = (): string =>
      execFileSync("sh", ["-c", `cp ${launcher} ${plugin}.new && mv ${plugin}.new ${plugin}`], {
        encoding: "utf8",
      });
    replace();
    const asked = Array.from({ length: 30 }, async () => {
      replace();
      return await ask("STATUS", { plugin });
    });
    for (const outcome of await Promise.all(asked)) expect(outcome).toMatchObject({ status: 0 });
  });

  test("rt-23: may stop reading: the ADD ends, and DEL finds what there is", async () => {
    await using sandbox = await createSandbox();
    const conf = '{"cniVersion":"1.1.0","name":"fairlead","type":"fairlead"}';
    const outcome = await node.run(
      // A pipe whose reader is gone before anything is written to it.
      ["sh", "-c", `{ sleep 0.1; echo '${conf}' | ${launcher}; echo "status $?" >&2; } | true`],
      {
        PATH: process.env["PATH"],
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "pod",
        CNI_NETNS: sandbox.path,
        CNI_IFNAME: "eth0",
        CNI_PATH: "/usr/lib/cni",
      },
    );
    expect(outcome.stderr).toBe("status 1\n");
    await result("DEL", { netns: sandbox.path });
  });
});
