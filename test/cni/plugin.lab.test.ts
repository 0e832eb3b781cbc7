// dist/lib/plugin.js without a daemon, in what the session of twin.lab.test.ts does not reach.
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  constants,
  copyFileSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../core/cni/launcher-protocol.ts";
import { formatNodeFacts } from "../../core/node-facts.ts";
import { readRequestText, writeAll } from "../../kernel/standard-streams.ts";
import { configuration } from "../support/cni-dispatch.ts";
import { runLauncher } from "./launcher-process.ts";
import { createSandbox, createTwinNode, facts } from "./twin-node.ts";

const root = join(import.meta.dirname, "../..");
const lib = join(root, "dist/lib");
const plugin = join(lib, "plugin.js");
const environment = (command: string, netns = "/run/netns/none") => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: "a51debf7e1eb",
  CNI_NETNS: netns,
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin",
});

let directory: string;
beforeAll(() => {
  execFileSync(process.execPath, ["scripts/build.ts"], { cwd: root, stdio: "pipe" });
  directory = mkdtempSync(join(tmpdir(), "fairlead-plugin-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a node where no daemon has run", () => {
  test.each([
    ["ever", "", "it does not exist"],
    [
      "since it was started",
      formatNodeFacts({ ...facts, bootId: "00000000-0000-0000-0000-000000000000" }),
      "it is of an earlier boot",
    ],
    ["that wrote a whole node.json", '{"version":1}', "Invalid"],
  ])("%s: refuses ADD and STATUS, naming it, and serves DEL", async (_, nodeFacts, problem) => {
    await using node = await createTwinNode(nodeFacts);
    await using sandbox = await createSandbox();
    const run = async (command: string) => {
      const env = environment(command, sandbox.path);
      const { status, stdout } = await node.run([process.execPath, plugin], env, configuration());
      return { status, error: stdout === "" ? undefined : (JSON.parse(stdout) as object) };
    };
    const msg = expect.stringMatching(new RegExp(`${problem}.*fairlead daemon`));
    expect(await run("ADD")).toMatchObject({ status: 1, error: { code: 11, msg } });
    expect(await run("STATUS")).toMatchObject({ status: 1, error: { code: 50, msg } });
    expect(await run("DEL")).toEqual({ status: 0, error: undefined });
  });
});

test("VERSION is answered although the input does not end (disp-24)", async () => {
  const outcome = await runLauncher({
    launcher: process.execPath,
    args: [plugin],
    env: environment("VERSION"),
    isStdinOpen: true,
  });
  expect(outcome.status).toBe(0);
  expect(JSON.parse(outcome.stdout)).toMatchObject({ cniVersion: "1.1.0" });
});

test("a result that nobody reads is a failure, not a crash", async () => {
  const outcome = await runLauncher({
    launcher: process.execPath,
    args: [plugin],
    env: environment("VERSION"),
    isStdoutClosed: true,
  });
  expect(outcome).toMatchObject({ status: 1, signal: null });
});

test("an installation without its native part still says so in an error object", async () => {
  for (const file of readdirSync(lib)) {
    if (/^(plugin.*\.js|package\.json)$/.test(file))
      copyFileSync(join(lib, file), join(directory, file));
  }
  const run = (command: string) =>
    runLauncher({
      launcher: process.execPath,
      args: [join(directory, "plugin.js")],
      env: environment(command),
      stdin: configuration(),
    });
  expect(await run("VERSION")).toMatchObject({ status: 0, stderr: "" });
  const { status, stdout } = await run("ADD");
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    code: 110,
    details: expect.stringContaining("Cannot find package 'koffi'"),
  });
});

describe("readRequestText()", () => {
  const never = new AbortController().signal;

  test("takes as much as a request may have, cut anywhere", async () => {
    const text = "é".repeat(limits.stdin / 2);
    const bytes = Buffer.from(text);
    const halves = Readable.from([bytes.subarray(0, 1_001), bytes.subarray(1_001)]);
    expect((await readRequestText(halves, never)) === text).toBe(true);
    const more = Readable.from([bytes, Buffer.from("x")]);
    await expect(readRequestText(more, never)).rejects.toMatchObject({ code: 5 });
    expect(more.destroyed).toBe(true);
  });

  test("gives up when told to, and when the stream fails", async () => {
    const open = new Readable({ read: () => {} });
    await expect(readRequestText(open, AbortSignal.timeout(20))).rejects.toThrow("did not end");
    expect(open.destroyed).toBe(true);
    const aborted = new Readable({ read: () => {} });
    await expect(readRequestText(aborted, AbortSignal.abort())).rejects.toThrow("did not end");
    const failing = new Readable({ read: () => failing.destroy(new Error("EIO")) });
    await expect(readRequestText(failing, never)).rejects.toThrow("EIO");
  });
});

describe("writeAll()", () => {
  /** The writing end of a pipe that does not block, and what its reader, a shell script, prints. */
  function openPipe(name: string, script: string) {
    const fifo = join(directory, name);
    execFileSync("mkfifo", [fifo]);
    const reader = spawn("sh", ["-c", `exec <${fifo}; ${script}`], { stdio: "pipe" });
    // Opens once the reader has; a descriptor that does not block would fail until then.
    const blocking = openSync(fifo, "w");
    const fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    closeSync(blocking);
    const ended = new Promise((resolve) => reader.once("exit", resolve));
    return { fd, printed: text(reader.stdout), ended };
  }

  test("waits for a reader of a pipe that does not block", async () => {
    const { fd, printed } = openPipe("slow", "sleep 0.1; wc -c");
    expect(writeAll(fd, "x".repeat(1_000_000))).toBe(true);
    closeSync(fd);
    expect(Number(await printed)).toBe(1_000_000);
  });

  test("gives up on one that is gone", async () => {
    const { fd, ended } = openPipe("gone", "true");
    await ended;
    expect(writeAll(fd, "x")).toBe(false);
    closeSync(fd);
  });
});
