// plugin/launcher.c against whatever may be, or not be, at its socket. Retries for 300 ms and gives up
// after 1.5 s instead of 1 s and 20 s.
import { linkSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { patchLauncherHome } from "../../core/cni/launcher-home.ts";
import { encodeReply, limits } from "../../core/cni/launcher-protocol.ts";
import {
  type LauncherOutcome,
  type LauncherRun,
  type LauncherSetup,
  createLauncher,
  listen,
  listenRaw,
  runLauncher,
  writeTellingHome,
} from "./launcher-process.ts";

const retryMs = 300;
const deadlineMs = 1_500;
const answered = { exitStatus: 0, stdout: '{"cniVersion":"1.1.0"}', stderr: "" };

let setup: LauncherSetup;
let socketCount = 0;
beforeAll(() => {
  setup = createLauncher({ retryMs, deadlineMs });
});
afterAll(() => setup[Symbol.dispose]());

const newSocketPath = () => join(setup.directory, `${++socketCount}.sock`);
const run = ({ env, ...more }: Partial<LauncherRun> = {}): Promise<LauncherOutcome> =>
  runLauncher({
    launcher: setup.launcher,
    env: { FAIRLEAD_HOME: setup.home, ...env },
    ...more,
  });
const expectLocal = (outcome: LauncherOutcome, script = "plugin.js", input = 0) => {
  expect(outcome.stdout.split("\n").slice(0, 2)).toEqual([`local ${script}`, `input ${input}`]);
  expect(outcome.status).toBe(0);
};

describe("with a daemon, the launcher", () => {
  test("brings environment and input, and prints the reply", async () => {
    const path = newSocketPath();
    let seen: unknown;
    await using _socket = await listen(path, ({ environment, stdin, netnsFd }) => {
      seen = {
        odd: environment["ODD"],
        empty: environment["EMPTY"],
        stdin: stdin.toString(),
        netnsFd,
      };
      return { exitStatus: 1, stdout: "out é", stderr: "err\n" };
    });
    const outcome = await run({
      env: { FAIRLEAD_SOCKET: path, ODD: "a=b;c\nd", EMPTY: "" },
      stdin: '{"name":"x"}',
    });
    expect(seen).toEqual({
      odd: "a=b;c\nd",
      empty: "",
      stdin: '{"name":"x"}',
      netnsFd: undefined,
    });
    expect(outcome).toMatchObject({ status: 1, stdout: "out é", stderr: "err\n" });
  });

  test.each([0, 65_537, limits.stdin])("brings %i octets of input", async (length) => {
    const path = newSocketPath();
    let received = -1;
    await using _socket = await listen(path, ({ stdin }) => {
      received = stdin.length;
      return answered;
    });
    const outcome = await run({
      env: { FAIRLEAD_SOCKET: path },
      stdin: Buffer.alloc(length, 0x61),
    });
    expect(outcome).toMatchObject({ status: 0, stdout: answered.stdout });
    expect(received).toBe(length);
  });

  test("prints a reply as long as one may be", async () => {
    const path = newSocketPath();
    const stdout = "x".repeat(limits.stdout);
    await using _socket = await listen(path, () => ({ ...answered, stdout }));
    const outcome = await run({ env: { FAIRLEAD_SOCKET: path } });
    expect(outcome.stdout === stdout).toBe(true);
  });

  test("sends the descriptor of the sandbox that it opened", async () => {
    const path = newSocketPath();
    let [pid, file] = [0, ""];
    await using _socket = await listen(path, ({ netnsFd }) => {
      file = readlinkSync(`/proc/${pid}/fd/${netnsFd ?? "none"}`);
      return answered;
    });
    await run({
      env: { FAIRLEAD_SOCKET: path, CNI_NETNS: "/proc/self/ns/net" },
      onStart: (started) => (pid = started),
    });
    expect(file).toBe(readlinkSync("/proc/self/ns/net"));
  });

  test.each(["", "/no/such/file"])("sends none for CNI_NETNS=%s", async (netns) => {
    const path = newSocketPath();
    let seen: number | undefined = 0;
    await using _socket = await listen(path, ({ netnsFd }) => {
      seen = netnsFd;
      return answered;
    });
    await run({ env: { FAIRLEAD_SOCKET: path, CNI_NETNS: netns } });
    expect(seen).toBeUndefined();
  });

  test("asks again after a reply that is cut short", async () => {
    const path = newSocketPath();
    await using socket = await listen(path, (_, index) =>
      index < 2 ? encodeReply(answered).subarray(0, 10 + index * 20) : answered,
    );
    const outcome = await run({ env: { FAIRLEAD_SOCKET: path } });
    expect(outcome).toMatchObject({ status: 0, stdout: answered.stdout });
    expect(socket.count).toBe(3);
  });

  test("finds one that starts within the second", async () => {
    const path = newSocketPath();
    const running = run({ env: { FAIRLEAD_SOCKET: path } });
    await new Promise((resolve) => setTimeout(resolve, retryMs / 3));
    await using _socket = await listen(path, () => answered);
    expect(await running).toMatchObject({ status: 0, stdout: answered.stdout });
  });

  test("ends with status 1, not by a signal, when nobody reads the result", async () => {
    const path = newSocketPath();
    const stdout = "x".repeat(1024 * 1024);
    await using _socket = await listen(path, () => ({ ...answered, stdout }));
    const outcome = await run({ env: { FAIRLEAD_SOCKET: path }, isStdoutClosed: true });
    expect(outcome).toMatchObject({ status: 1, signal: null });
  });

  test("takes standard streams that are closed for empty ones", async () => {
    const path = newSocketPath();
    let received = -1;
    await using _socket = await listen(path, ({ stdin }) => {
      received = stdin.length;
      return answered;
    });
    const outcome = await run({
      launcher: "/bin/sh",
      args: ["-c", `exec ${setup.launcher} <&- >&- 2>&-`],
      env: { FAIRLEAD_SOCKET: path },
    });
    expect(outcome.status).toBe(0);
    expect(received).toBe(0);
  });

  test.each([
    ["answers nothing", () => {}],
    ["does not even read", (socket: { pause(): void }) => socket.pause()],
  ])("gives up on one that %s", async (_, handle) => {
    const path = newSocketPath();
    await using _socket = await listenRaw(path, handle);
    const outcome = await run({
      env: { FAIRLEAD_SOCKET: path },
      stdin: Buffer.alloc(limits.stdin, 0x61),
    });
    expect(outcome.status).toBe(1);
    expect(JSON.parse(outcome.stdout)).toEqual({
      cniVersion: "1.1.0",
      code: 11,
      msg: "Cannot get an answer of the fairlead daemon in time",
    });
    expect(outcome.ms).toBeGreaterThan(deadlineMs - 50);
  });
});

describe("the launcher does without the daemon", () => {
  const bad = (spoil: (frame: Buffer) => Buffer | void) => () => {
    const frame = encodeReply(answered);
    return spoil(frame) ?? frame;
  };
  test.each([
    ["when it says so", () => "runLocally" as const],
    ["when each reply is cut short", bad((frame) => frame.subarray(0, -1))],
    ["when each reply is empty", bad(() => Buffer.alloc(0))],
    ["when replies have more than they say", bad((frame) => Buffer.concat([frame, frame]))],
    ["when replies are beyond all limits", bad(() => Buffer.alloc(6 * 1024 * 1024, 0x61))],
    ["when replies claim a length beyond the limit", bad((f) => void f.writeUInt32LE(2 ** 31, 12))],
    ["when replies are of something else", bad((frame) => void frame.write("HTTP"))],
    ["when replies are of an unknown kind", bad((frame) => void frame.writeUInt32LE(7, 4))],
  ])("%s, with the same input", async (_, answer) => {
    const path = newSocketPath();
    await using socket = await listen(path, answer);
    const outcome = await run({ env: { FAIRLEAD_SOCKET: path }, stdin: '{"name":"x"}' });
    expectLocal(outcome, "plugin.js", 12);
    expect(socket.count).toBeGreaterThan(0);
  });

  test("when there is no socket, after having waited for one", async () => {
    const outcome = await run({ env: { FAIRLEAD_SOCKET: newSocketPath() }, stdin: "x" });
    expectLocal(outcome, "plugin.js", 1);
    expect(outcome.ms).toBeGreaterThan(retryMs - 10);
  });

  test("when nobody listens at the socket", async () => {
    const path = newSocketPath();
    // A listener that dies without closing leaves its socket: libuv removes it only when it closes.
    const dead = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    await runLauncher({ launcher: process.execPath, args: ["-e", dead] });
    expectLocal(await run({ env: { FAIRLEAD_SOCKET: path }, stdin: "x" }), "plugin.js", 1);
  });

  test("when the socket's path is longer than any can be", async () => {
    const FAIRLEAD_SOCKET = `/${"x".repeat(300)}`;
    expectLocal(await run({ env: { FAIRLEAD_SOCKET } }));
  });

  test("when the connection ends before the request was read", async () => {
    const path = newSocketPath();
    await using _socket = await listenRaw(path, (socket) => socket.destroy());
    const stdin = Buffer.alloc(limits.stdin, 0x61);
    const outcome = await run({ env: { FAIRLEAD_SOCKET: path }, stdin });
    expectLocal(outcome, "plugin.js", limits.stdin);
  });

  test("when the sandbox is there but cannot be opened", async () => {
    const path = newSocketPath();
    await using socket = await listen(path, () => answered);
    const outcome = await run({
      env: { FAIRLEAD_SOCKET: path, CNI_NETNS: "/etc/passwd/net" },
      stdin: "x",
    });
    expectLocal(outcome, "plugin.js", 1);
    expect(socket.count).toBe(0);
  });

  test("when there is more input than a request may have: all that shows it", async () => {
    const stdin = Buffer.alloc(limits.stdin + 5_000, 0x61);
    expectLocal(await run({ stdin }), "plugin.js", limits.stdin + 1);
  });

  test("when the environment is larger than a request's may be", async () => {
    // Linux takes as much as a quarter of the stack's limit, 128 KiB in one string.
    const script = `ulimit -s 65536
      text=$(head -c 120000 /dev/zero | tr '\\0' x)
      for i in $(seq 20); do export LARGE_$i=$text; done
      exec ${setup.launcher}`;
    const outcome = await run({ launcher: "/bin/sh", args: ["-c", script], stdin: "x" });
    expectLocal(outcome, "plugin.js", 1);
  });

  test.each(["VERSION", "", undefined])("for CNI_COMMAND=%s, input untouched", async (command) => {
    const path = newSocketPath();
    await using socket = await listen(path, () => answered);
    const outcome = await run({
      env: { CNI_COMMAND: command, FAIRLEAD_SOCKET: path },
      stdin: "12345",
    });
    expectLocal(outcome, "plugin.js", 5);
    expect(socket.count).toBe(0);
  });

  test("leaving no descriptor open, and SIGPIPE as it was", async () => {
    const path = newSocketPath();
    await using _socket = await listen(path, () => "runLocally");
    const outcome = await run({
      env: { FAIRLEAD_SOCKET: path, CNI_NETNS: "/proc/self/ns/net" },
      stdin: "x",
    });
    expectLocal(outcome, "plugin.js", 1);
    const descriptorsOf = ({ stdout }: LauncherOutcome) =>
      stdout.split("\n").flatMap((line) => /^open (\d+)/.exec(line)?.[1] ?? []);
    const direct = await runLauncher({ launcher: join(setup.home, "node"), args: ["x"] });
    expect(descriptorsOf(outcome)).toEqual(descriptorsOf(direct));
    expect(outcome.stdout).toMatch(/^open 0 .*memfd:stdin/m);
    expect(outcome.stdout).toContain("sigpipe-ignored 0");
  });

  test("but not with a standard input that does not end", async () => {
    const outcome = await run({ stdin: "x", isStdinOpen: true });
    expect(outcome.status).toBe(1);
    expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 11 });
  });
});

describe.each(["fairlead-ipam", "host-local"])("as %s, the launcher", (name) => {
  let launcher: string;
  beforeAll(() => {
    launcher = join(setup.directory, name);
    linkSync(setup.launcher, launcher);
  });

  test("asks the daemon under that name, without a sandbox", async () => {
    const path = newSocketPath();
    let seen: unknown;
    await using _socket = await listen(path, ({ program, netnsFd, stdin }) => {
      seen = [program, netnsFd, stdin.toString()];
      return { exitStatus: 1, stdout: "out", stderr: "" };
    });
    const env = { FAIRLEAD_SOCKET: path, CNI_NETNS: "/etc/passwd/net" };
    const outcome = await run({ launcher, env, stdin: "12345" });
    expect(outcome).toMatchObject({ status: 1, stdout: "out" });
    expect(seen).toEqual(["fairlead-ipam", undefined, "12345"]);
  });

  test("does not wait for a daemon that is not there", async () => {
    const env = { FAIRLEAD_SOCKET: newSocketPath() };
    const outcome = await run({ launcher, env, stdin: "12345" });
    expectLocal(outcome, "ipam.js", 5);
  });

  test.each([
    ["closes without an answer, as one that is older does", Buffer.alloc(0)],
    ["cuts its answer short", encodeReply(answered).subarray(0, -1)],
    ["leaves it to the launcher", "runLocally" as const],
  ])("asks a daemon once that %s", async (_, answer) => {
    const path = newSocketPath();
    await using socket = await listen(path, () => answer);
    const outcome = await run({ launcher, env: { FAIRLEAD_SOCKET: path }, stdin: "12345" });
    expectLocal(outcome, "ipam.js", 5);
    expect(socket.count).toBe(1);
  });

  test.each(["VERSION", ""])("does not ask for CNI_COMMAND=%s", async (command) => {
    const path = newSocketPath();
    await using socket = await listen(path, () => answered);
    const env = { CNI_COMMAND: command, FAIRLEAD_SOCKET: path };
    expectLocal(await run({ launcher, env, stdin: "12345" }), "ipam.js", 5);
    expect(socket.count).toBe(0);
  });
});

describe("the launcher finds its home", () => {
  const noSocket = () => ({ FAIRLEAD_SOCKET: newSocketPath() });
  // A launcher in a directory of its own, with this home written in.
  const place = (name: string, home?: string): string => {
    const directory = join(setup.directory, name, "cni");
    mkdirSync(directory, { recursive: true });
    const launcher = join(directory, "fairlead");
    const binary = readFileSync(setup.launcher);
    writeFileSync(launcher, home === undefined ? binary : patchLauncherHome(binary, home), {
      mode: 0o755,
    });
    return launcher;
  };
  const runAt = (launcher: string, env: Readonly<Record<string, string>> = {}) =>
    runLauncher({ launcher, env: { ...noSocket(), ...env } });

  test("beside its own directory", async () => {
    const launcher = place("beside");
    writeTellingHome(join(setup.directory, "beside", "lib"));
    expectLocal(await runAt(launcher));
  });

  test("where install wrote it", async () => {
    expectLocal(await runAt(place("installed", setup.home)));
  });

  test("in FAIRLEAD_HOME before all others", async () => {
    const launcher = place("overridden", "/nowhere");
    expectLocal(await runAt(launcher, { FAIRLEAD_HOME: setup.home }));
  });

  test.each([
    ["ADD", 11],
    ["STATUS", 50],
  ])("or fails %s with code %i", async (command, code) => {
    const outcome = await runAt(place("lost"), { CNI_COMMAND: command });
    expect(outcome.status).toBe(1);
    expect(JSON.parse(outcome.stdout)).toMatchObject({
      code,
      msg: expect.stringContaining("is it installed?"),
    });
  });

  test("or says which file it could not run", async () => {
    const outcome = await runAt(place("broken", "/nowhere"));
    expect(outcome.stderr).toBe("fairlead: cannot run /nowhere/node: No such file or directory\n");
    expect(JSON.parse(outcome.stdout)).toMatchObject({ code: 11 });
  });
});

test("a launcher's request can be as long as the limits allow, all at once", async () => {
  // The socket's own limits do not matter: the launcher waits where it cannot send.
  const path = newSocketPath();
  await using _socket = await listen(path, ({ environment, stdin }) => ({
    ...answered,
    stdout: `${Object.keys(environment).length > 10} ${stdin.length}`,
  }));
  const env: Record<string, string> = { FAIRLEAD_SOCKET: path };
  for (let i = 0; i < 15; i++) env[`LARGE_${i}`] = "x".repeat(120_000);
  const outcome = await run({ env, stdin: Buffer.alloc(limits.stdin, 0x61) });
  expect(outcome.stdout).toBe(`true ${limits.stdin}`);
});
