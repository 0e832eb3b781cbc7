// `fairlead lab` as its user has it: the built command, in processes of its own.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { waitFor } from "../../cli/lab/wait.ts";
import { artifacts } from "../../cli/home.ts";
import { memberOf } from "../../cli/lab/directory.ts";
import { linesLeft, observeNode, traceOfLab } from "../../scripts/demo/remains.ts";
import { type TestLab, testLab } from "../support/lab.ts";

const signal = new AbortController().signal;

/** Nothing of it: no mount, no directory, no process. */
const remains = (lab: TestLab): unknown[] => [...traceOfLab(lab.directory), ...lab.processes()];

describe("a lab that is up", () => {
  let lab: TestLab;
  let up: ReturnType<TestLab["run"]>;
  beforeAll(async () => {
    lab = await testLab();
    up = lab.run("up");
  });
  afterAll(() => void lab.run("down"));

  test("shows its progress, and what to try next", () => {
    expect(up.stderr).toContain("node-c: daemon ready");
    expect(up.stdout).toContain("fairlead lab pod add");
    expect(up.status).toBe(0);
  });

  test("refuses another one in its place", () => {
    const again = lab.run("up");
    expect([again.status, again.stderr]).toEqual([1, expect.stringContaining("is a lab up?")]);
  });

  test("exec runs in the node, and passes on input, output and exit status", () => {
    expect(lab.run("exec", "node-a", "--", "cat", "/etc/hostname").stdout).toBe("node-a\n");
    expect(lab.run("exec", "node-b", "--", "sh", "-c", "hostname; exit 7")).toMatchObject({
      status: 7,
      stdout: "node-b\n",
    });
    const links = lab.run("exec", "node-a", "--", "ip", "-br", "link").stdout;
    expect(links).toMatch(/^eth0@/m);
    expect(links).toMatch(/^fl-vxlan /m);
  });

  test("a node's own places are its own", () => {
    lab.run(
      "exec",
      "node-a",
      "--",
      "touch",
      "/etc/fltest",
      "/var/lib/fltest",
      "/opt/fltest",
      "/run/fltest",
    );
    const list = "ls -d /etc/fltest /var/lib/fltest /opt/fltest /run/fltest 2>/dev/null | wc -l";
    expect(lab.run("exec", "node-a", "--", "sh", "-c", list).stdout.trim()).toBe("4");
    expect(lab.run("exec", "node-b", "--", "sh", "-c", list).stdout.trim()).toBe("0");
    expect(["/etc", "/var/lib", "/opt", "/run"].filter((d) => existsSync(`${d}/fltest`))).toEqual(
      [],
    );
  });

  test("takes its directory by any path", () => {
    const path = `/run/./${basename(lab.directory)}/../${basename(lab.directory)}/`;
    const exec = spawnSync(artifacts.command, ["lab", "exec", "--dir", path, "node-a", "true"]);
    expect(exec.status).toBe(0);
  });

  test("exec refuses a name that is none, and names those there are", () => {
    const { status, stderr } = lab.run("exec", "node-x", "--", "true");
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining("expected node-a, node-b, node-c"),
    ]);
  });

  test("status, asked in a node, tells of the node and its peers", () => {
    const text = lab.run("exec", "node-a", "--", "fairlead", "status");
    expect(text.stdout).toMatch(/ready +yes/);
    expect(text.stdout).toMatch(/node-b +10\.244\.2\.0\/24 +172\.30\.1\.12 +direct/);
    expect(text.stdout).toMatch(/node-c +10\.244\.3\.0\/24 +172\.30\.2\.13 +vxlan/);
    expect(text.status).toBe(0);
    const json = JSON.parse(lab.run("exec", "node-c", "--", "fairlead", "status", "--json").stdout);
    expect(json).toMatchObject({ isReady: true, node: { name: "node-c" }, problems: [] });
  });

  test("pod add attaches, pod rm detaches and ends what runs in the pod", async () => {
    const withoutPod = lab.processes();
    const added = lab.run("pod", "add", "hello", "--node", "node-b", "--label", "app=x", "--json");
    expect(JSON.parse(added.stdout)).toMatchObject({
      name: "hello",
      namespace: "default",
      node: "node-b",
      labels: { app: "x" },
      addresses: [expect.stringMatching(/^10\.244\.2\.\d+$/)],
    });
    const seen = lab.run(
      "exec",
      "hello",
      "--",
      "sh",
      "-c",
      "hostname; cat /etc/resolv.conf",
    ).stdout;
    expect(seen).toMatch(/^hello\nnameserver 10\.96\.0\.10\nsearch default\.svc\.cluster\.local /);
    expect(readdirSync(`${lab.directory}/cluster`)).toContain("pod-default-hello.yaml");

    expect(lab.run("pod", "add", "hello", "--node", "node-a").stderr).toContain(
      "the lab has a hello",
    );
    expect(lab.run("pod", "add", "other", "--node", "node-x").stderr).toContain("expected node-a");
    expect(lab.run("pod", "add", "Other", "--node", "node-a").status).toBe(2);

    const before = lab.processes();
    lab.run("exec", "hello", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 &");
    const [started] = lab.processes().filter((pid) => !before.includes(pid));
    // The shell does not wait for it to be that.
    const words = (): string => readFileSync(`/proc/${started}/cmdline`, "utf8");
    await vi.waitFor(() => expect(words()).toBe("sleep\u00001000\u0000"), { timeout: 40_000 });
    const removed = lab.run("pod", "rm", "hello");
    expect(removed.stdout).toMatch(/^removed pod hello \(DEL \d+\.\d ms\)\n$/);
    expect(lab.processes()).toEqual(withoutPod);
    expect(readdirSync(`${lab.directory}/cluster`)).not.toContain("pod-default-hello.yaml");
    await waitFor(
      () =>
        /^fl[0-9a-f]{12}/m.test(lab.run("exec", "node-b", "--", "ip", "-br", "link").stdout)
          ? undefined
          : true,
      { what: "the pod's interface did not go", deadlineMs: 40_000, signal },
    );
    expect(lab.run("pod", "rm", "hello")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("it has none"),
    });
  });

  test("the route to a pod comes back when somebody flushes all routes of ours", async () => {
    const added = lab.run("pod", "add", "flushed", "--node", "node-b", "--json");
    const { addresses } = JSON.parse(added.stdout);
    const routes = (): string =>
      lab.run("exec", "node-b", "--", "ip", "route", "show", "proto", "76").stdout;
    const before = routes();
    expect(before).toContain(`${addresses[0]} dev fl`);
    lab.run("exec", "node-b", "--", "ip", "route", "flush", "proto", "76");
    await waitFor(() => (routes() === before ? true : undefined), {
      what: "the routes did not come back",
      deadlineMs: 40_000,
      signal,
    });
    const ping = ["ping", "-c1", "-W1", addresses[0]];
    expect(lab.run("exec", "node-b", "--", ...ping).status).toBe(0);
    lab.run("pod", "rm", "flushed");
  });

  test.each([40, 70, 90, 110, 130, 160])(
    "pod rm cleans up after a pod add that was killed after %d ms",
    async (ms) => {
      const observe = (): Promise<readonly string[]> =>
        observeNode(memberOf(lab.directory, "node-c"), signal);
      const [before, processes] = [await observe(), lab.processes()];
      const adding = lab.start("pod", "add", "half", "--node", "node-c");
      const exited = once(adding, "exit");
      await delay(ms);
      adding.kill("SIGKILL");
      await exited;
      // Too early for anything, even a record: there is no pod then.
      expect([0, 1]).toContain(lab.run("pod", "rm", "half").status);
      expect(lab.run("pod", "rm", "half").stderr).toContain("it has none");
      const left = await linesLeft(before, observe, { deadlineMs: 40_000, signal });
      // The plugin may have outlived its killed runtime by a moment; the second DEL is then its end.
      expect(left).toEqual([]);
      await waitFor(() => (lab.processes().length === processes.length ? true : undefined), {
        what: "a process of the pod stays",
        deadlineMs: 40_000,
        signal,
      });
      expect(lab.run("pod", "add", "half", "--node", "node-c").status).toBe(0);
      expect(lab.run("pod", "rm", "half").status).toBe(0);
    },
  );

  test("is not disturbed by a second lab", async () => {
    const second = await testLab();
    onTestFinished(() => void second.run("down"));
    const up = second.run("up", "--nodes", "1", "--json");
    expect(JSON.parse(up.stdout)).toMatchObject({ directory: second.directory });
    expect(second.run("pod", "add", "p", "--node", "node-a").status).toBe(0);
    const first = lab.processes();
    expect(second.run("down").status).toBe(0);
    expect(remains(second)).toEqual([]);
    expect(lab.processes()).toEqual(first);
    expect(lab.run("exec", "node-a", "--", "fairlead", "status").status).toBe(0);
  });
});

test("down takes away pods and all, and has nothing to do the second time", async () => {
  const lab = await testLab();
  onTestFinished(() => void lab.run("down"));
  lab.run("up", "--nodes", "2");
  lab.run("pod", "add", "p", "--node", "node-b");
  expect(lab.run("down").stdout).toContain("removed the lab");
  expect(remains(lab)).toEqual([]);
  expect(lab.run("down")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("no lab in"),
  });
});

test.each([30, 100, 200, 350, 500])(
  "down cleans up after a lab that was killed after %d ms",
  async (ms) => {
    const lab = await testLab();
    const up = lab.start("up");
    const exited = once(up, "exit");
    await delay(ms);
    up.kill("SIGKILL");
    await exited;
    expect(lab.run("down").status).toBe(0);
    await waitFor(() => (lab.processes().length === 0 ? true : undefined), {
      what: "processes of the killed lab stay",
      deadlineMs: 40_000,
      signal,
    });
    expect(remains(lab)).toEqual([]);
  },
);

test("an interrupted up takes away what it built", async () => {
  const lab = await testLab();
  const up = lab.start("up");
  let text = "";
  up.stderr!.on("data", (chunk) => void (text += chunk));
  const exited = once(up, "exit");
  await waitFor(() => (text.includes("underlay:") ? true : undefined), {
    what: "no progress",
    deadlineMs: 40_000,
    signal,
  });
  up.kill("SIGINT");
  expect(await exited).toEqual([1, null]);
  expect(text).toContain("Stopped by SIGINT");
  expect(remains(lab)).toEqual([]);
});

test("up with a cluster of one's own, and with one that is wrong", async () => {
  const lab = await testLab();
  onTestFinished(() => void lab.run("down"));
  expect(lab.run("up", "--cluster", "/nonexistent")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("/nonexistent"),
  });
  expect(lab.run("up", "--nodes", "0").status).toBe(2);
  expect(remains(lab)).toEqual([]);
});
