// install and uninstall for real: below another root, and on a node of a lab that has been at work.
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { artifacts } from "../../cli/home.ts";
import { version } from "../../core/version.ts";
import { type TestLab, testLab } from "../support/lab.ts";

const run = (...args: readonly string[]): { status: number | null; stdout: string } =>
  spawnSync(artifacts.command, args, { encoding: "utf8" });

/** Every file and link below a directory. */
const filesIn = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length))
    .sort();

describe("below another root", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "fairlead-root-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  test("lays everything out, works from there, and goes again", () => {
    expect(run("install", "--root", root).status).toBe(0);
    expect(readlinkSync(join(root, "/usr/lib/fairlead/current"))).toBe(version);
    expect(readlinkSync(join(root, "/usr/bin/fairlead"))).toBe(
      "/usr/lib/fairlead/current/bin/fairlead",
    );
    expect(lstatSync(join(root, "/opt/cni/bin/fairlead")).mode & 0o777).toBe(0o755);
    const command = join(root, "/usr/lib/fairlead/current/bin/fairlead");
    expect(execFileSync(command, ["version"], { encoding: "utf8" })).toBe(`${version}\n`);
    const unit = readFileSync(join(root, "/usr/lib/systemd/system/fairlead.service"), "utf8");
    expect(unit).toMatch(/^ExecStart=\/usr\/bin\/fairlead daemon/m);

    expect(run("uninstall", "--root", root).status).toBe(0);
    expect(filesIn(root)).toEqual([]);
  });

  test("installs over itself, and leaves no half of anything", () => {
    run("install", "--root", root);
    const before = filesIn(root);
    expect(run("install", "--root", root, "--json").status).toBe(0);
    expect(filesIn(root)).toEqual(before);
  });

  test("goes where it is told, and uninstall knows", () => {
    const places = ["--cni-bin", "/usr/libexec/cni", "--cni-conf", "/etc/other/net.d"];
    run("install", "--root", root, "--home", "/opt/fairlead", ...places);
    expect(filesIn(join(root, "/usr/libexec/cni"))).toEqual(["/fairlead", "/fairlead-ipam"]);
    const config = join(root, "/etc/fairlead/fairlead.yaml");
    expect(readFileSync(config, "utf8")).toBe("cni: { confDir: /etc/other/net.d }\n");
    expect(run("uninstall", "--root", root, "--home", "/opt/fairlead").status).toBe(0);
    // The configuration is the operator's from the moment it exists.
    expect(filesIn(root)).toEqual(["/etc/fairlead/fairlead.yaml"]);
  });

  test("leaves a plugin and a command of the same name alone that are not ours", () => {
    for (const path of ["/opt/cni/bin/fairlead", "/usr/bin/fairlead"]) {
      mkdirSync(join(root, path, ".."), { recursive: true });
      writeFileSync(join(root, path), "somebody else's");
    }
    run("uninstall", "--root", root);
    expect(filesIn(root)).toEqual(["/opt/cni/bin/fairlead", "/usr/bin/fairlead"]);
  });
});

describe("on a node that has been at work", () => {
  let lab: TestLab;
  const inNode = (script: string): ReturnType<TestLab["run"]> =>
    lab.run("exec", "node-a", "--", "sh", "-c", script);
  // /usr is the machine's, which nothing may be installed into: a layer over it for one command.
  const withUsr = (command: string): string => `
    mkdir -p /run/usr/upper /run/usr/work
    exec unshare --mount sh -c '
      mount -t overlay -o lowerdir=/usr,upperdir=/run/usr/upper,workdir=/run/usr/work overlay /usr
      ${command}'`;
  beforeAll(async () => {
    lab = await testLab();
    lab.run("up");
    lab.run("pod", "add", "p", "--node", "node-a");
  });
  afterAll(() => void lab.run("down"));

  test("install puts a command there that knows the daemon", () => {
    expect(
      inNode(withUsr(`${artifacts.command} install && /usr/bin/fairlead status`)),
    ).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/ready +yes/),
    });
    expect(inNode("ls /opt/cni/bin").stdout).toBe("fairlead\nfairlead-ipam\n");
  });

  test("uninstall refuses under a running daemon", () => {
    expect(inNode(withUsr("fairlead uninstall"))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("stop it first"),
    });
  });

  test("uninstall refuses while a pod is attached, and names it", () => {
    stopDaemon();
    expect(inNode(withUsr("fairlead uninstall"))).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/default\/p +fairlead +[0-9a-f]{64} +eth0/),
    });
    expect(inNode("ip -br link").stdout).toMatch(/^fl[0-9a-f]{12}@/m);
  });

  test("uninstall --force removes all that is ours, and sets sysctls back", () => {
    const done = inNode(withUsr("fairlead uninstall --force"));
    expect(done).toMatchObject({ status: 0, stderr: "" });
    expect(inNode("ip -br link").stdout).not.toMatch(/^fl/m);
    expect(inNode("ip route show table all proto 76").stdout).toBe("");
    expect(inNode("nft list tables").stdout).toBe("");
    expect(
      inNode(
        "ls -A /run/fairlead /var/lib/fairlead /etc/cni/net.d /opt/cni/bin 2>/dev/null | grep -v :",
      ).stdout.trim(),
    ).toBe("");
    expect(inNode("find /var/lib/cni/networks -type f").stdout).toBe("");
    expect(inNode("sysctl -n net.ipv4.ip_forward").stdout).toBe(
      readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8"),
    );
    expect(existsSync(join(lab.directory, "members/node-a/root/etc/fairlead/fairlead.yaml"))).toBe(
      true,
    );
    expect(inNode(withUsr("fairlead uninstall")).stdout).toBe("nothing to remove\n");
  });

  test("uninstall stops before it removes anything at a damaged record, but not with --force", () => {
    const damage = "mkdir -p /var/lib/fairlead && echo junk > /var/lib/fairlead/sysctls.json";
    expect(inNode(withUsr(`${damage} && fairlead uninstall`))).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringContaining("/var/lib/fairlead/sysctls.json"),
    });
    expect(inNode(withUsr("fairlead uninstall --force"))).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("removed /var/lib/fairlead"),
    });
  });

  function stopDaemon(): void {
    const pid = readFileSync(join(lab.directory, "members/node-a/processes/daemon"), "utf8").split(
      " ",
    )[0]!;
    process.kill(Number(pid), "SIGTERM");
    // A zombie has ended: where the first process reaps nobody, as in a container, it stays one.
    const isAlive = `grep -s ^State: /proc/${pid}/status | grep -qv Z`;
    execFileSync("sh", [
      "-c",
      `for i in $(seq 500); do ${isAlive} || exit 0; sleep 0.01; done; exit 1`,
    ]);
  }
});
