// daemon/cni/cni-server.ts, asked by a client that speaks the launcher's protocol.
import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { type Socket, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type LauncherProgram,
  type LauncherReply,
  type LauncherRequest,
  decodeReply,
  encodeRequest,
} from "../../core/cni/launcher-protocol.ts";
import { emptyResult } from "../../core/cni/result.ts";
import type { AttachmentRequest, CniHandlers } from "../../core/cni/types.ts";
import { silentLog } from "../../core/log.ts";
import { serveCni } from "../../daemon/cni/cni-server.ts";
import { interfaceCidr } from "../support/builders.ts";
import { configuration } from "../support/cni-dispatch.ts";
import { timeLived } from "../support/lived.ts";

const podIp = { ...emptyResult, ips: [{ address: interfaceCidr("10.244.1.7/32") }] };
const idle: CniHandlers = {
  add: async () => podIp,
  del: async () => {},
  check: async () => {},
  gc: async () => {},
  status: async () => {},
};
const deadlines = { receiveMs: 300, handlerMs: 400, replyMs: 600 };

let directory: string;
let socketPath: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-server-"));
  socketPath = join(directory, "run", "cni.sock");
});
afterEach(() => rmSync(directory, { recursive: true }));

const serve = (fairlead: Partial<CniHandlers> = {}, ipam: Partial<CniHandlers> = {}) =>
  serveCni({
    socketPath,
    handlers: { fairlead: { ...idle, ...fairlead }, "fairlead-ipam": { ...idle, ...ipam } },
    log: silentLog,
    deadlines,
  });

interface Asked {
  readonly program?: LauncherProgram;
  readonly command?: string;
  readonly containerId?: string;
  readonly netns?: string;
  readonly netnsFd?: number;
  readonly conf?: object;
}

function requestOf({ command = "ADD", conf = {}, ...asked }: Asked): LauncherRequest {
  return {
    program: asked.program ?? "fairlead",
    environment: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: asked.containerId ?? "a",
      CNI_NETNS: asked.netns ?? "/run/netns/x",
      CNI_IFNAME: "eth0",
      CNI_PATH: "/opt/cni/bin",
    },
    stdin: Buffer.from(configuration(conf)),
    netnsFd: asked.netnsFd,
  };
}

async function open(): Promise<Socket> {
  const socket = connect(socketPath);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("error", reject);
  });
  return socket;
}

async function ask(asked: Asked = {}): Promise<LauncherReply> {
  const socket = await open();
  socket.write(encodeRequest(requestOf(asked)));
  return decodeReply(await buffer(socket));
}

const codeOf = (reply: LauncherReply): unknown =>
  reply === "runLocally" ? reply : (JSON.parse(reply.stdout) as { code?: number }).code;

describe("the CNI socket", () => {
  test("is root's alone, and gone when the server is", async () => {
    const server = await serve();
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(directory, "run"))).toEqual(["cni.sock"]);
    await server[Symbol.asyncDispose]();
    expect(existsSync(socketPath)).toBe(false);
  });

  test("takes the place of one that a dead daemon left", async () => {
    await (await serve())[Symbol.asyncDispose]();
    const dead = `require("net").createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, "SIGKILL"))`;
    await new Promise((resolve) => spawn(process.execPath, ["-e", dead]).once("exit", resolve));
    expect(existsSync(socketPath)).toBe(true);
    await using _server = await serve();
    expect(await ask()).toMatchObject({ exitStatus: 0 });
  });

  test("does not take the place of a living daemon's", async () => {
    await using _server = await serve();
    await expect(serve()).rejects.toThrow("another daemon does");
    expect(await ask()).toMatchObject({ exitStatus: 0 });
  });

  test("answers nobody but root", async () => {
    await using _server = await serve();
    for (const path of [directory, join(directory, "run")]) chmodSync(path, 0o755);
    chmodSync(socketPath, 0o666);
    const frame = encodeRequest(requestOf({})).toString("base64");
    // Not spawned as nobody: where the project lies below /root, nobody may not even run Node.
    const script = `process.setgroups([]); process.setgid(65534); process.setuid(65534);
      const s = require("net").connect(${JSON.stringify(socketPath)});
      s.write(Buffer.from("${frame}", "base64")); let n = 0;
      s.on("data", (d) => (n += d.length)); s.on("error", () => {}); s.on("close", () => console.log("octets", n));`;
    const child = spawn(process.execPath, ["-e", script]);
    expect(await text(child.stdout)).toBe("octets 0\n");
  });
});

describe("the CNI server", () => {
  test("answers with what the dispatcher says", async () => {
    await using _server = await serve();
    const reply = await ask();
    expect(reply).toMatchObject({ exitStatus: 0, stderr: "" });
    expect(reply === "runLocally" ? "" : JSON.parse(reply.stdout)).toMatchObject({
      ips: [{ address: "10.244.1.7/32" }],
    });
    expect(await ask({ command: "DEL" })).toEqual({ exitStatus: 0, stdout: "", stderr: "" });
    expect(codeOf(await ask({ conf: { cniVersion: "9.9.9" } }))).toBe(1);
  });

  test("has handlers of its own for each program", async () => {
    const asked: string[] = [];
    const told = (who: string) => ({
      add: async () => {
        asked.push(who);
        return podIp;
      },
    });
    await using _server = await serve(told("fairlead"), told("fairlead-ipam"));
    await ask();
    await ask({ program: "fairlead-ipam" });
    // Under whatever name it was installed.
    await ask({ program: "fairlead-ipam", conf: { ipam: { type: "host-local" } } });
    expect(asked).toEqual(["fairlead", "fairlead-ipam", "fairlead-ipam"]);
  });

  test.each(["ADD", "DEL", "CHECK", "GC", "STATUS"])(
    "leaves %s with another's IPAM to the launcher",
    async (command) => {
      await using _server = await serve();
      expect(await ask({ command, conf: { ipam: { type: "static" } } })).toBe("runLocally");
    },
  );

  test("opens the launcher's descriptor for as long as the handler runs", async () => {
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    const fd = openSync("/proc/self/ns/net", "r");
    const seen: unknown[] = [];
    const server = await serve({
      add: async ({ netns, netnsFile }) => {
        closeSync(fd);
        await delay(20);
        const file = openSync(netnsFile!, "r");
        seen.push(netns, fstatSync(file).ino);
        closeSync(file);
        return podIp;
      },
    });
    await ask({ netns: "/run/netns/as-given", netnsFd: fd });
    expect(seen).toEqual(["/run/netns/as-given", statSync("/proc/self/ns/net").ino]);
    await server[Symbol.asyncDispose]();
    await expect.poll(descriptors).toBe(before);
  });

  test.each([undefined, 999_999])("has no sandbox for descriptor %s", async (netnsFd) => {
    let file: string | undefined = "none asked for";
    await using _server = await serve({
      del: async ({ netnsFile }) => void (file = netnsFile),
    });
    await ask({ command: "DEL", ...(netnsFd === undefined ? {} : { netnsFd }) });
    expect(() => statSync(file!)).toThrow("ENOENT");
    await ask({ command: "DEL", netns: "" });
    expect(file).toBeUndefined();
  });

  test("takes a request in pieces, and gives a reply that fits no socket's buffer", async () => {
    const search = ["a".repeat(1_000_000)];
    await using _server = await serve({ add: async () => ({ ...podIp, dns: { search } }) });
    const socket = await open();
    const frame = encodeRequest(requestOf({}));
    for (const octet of [frame.subarray(0, 30), frame.subarray(30, 31), frame.subarray(31)]) {
      socket.write(octet);
      await delay(10);
    }
    const reply = decodeReply(await buffer(socket));
    expect(reply === "runLocally" ? "" : JSON.parse(reply.stdout)).toMatchObject({
      dns: { search },
    });
  });

  test("serves one attachment's requests in turn, others at the same time", async () => {
    const log: string[] = [];
    const handle =
      (verb: string) =>
      async ({ key }: AttachmentRequest) => {
        log.push(`${verb} ${key.containerId} begins`);
        await delay(50);
        log.push(`${verb} ${key.containerId} ends`);
        return podIp;
      };
    await using _server = await serve({ add: handle("ADD"), check: handle("CHECK") as never });
    const first = ask({ containerId: "a" });
    await delay(10);
    await Promise.all([
      first,
      ask({ containerId: "a", command: "CHECK" }),
      ask({ containerId: "b" }),
    ]);
    expect(log.slice(0, 2)).toEqual(["ADD a begins", "ADD b begins"]);
    expect(log.filter((line) => line.includes(" a "))).toEqual([
      "ADD a begins",
      "ADD a ends",
      "CHECK a begins",
      "CHECK a ends",
    ]);
  });

  test("serves a burst of 300", async () => {
    await using _server = await serve();
    const asked = Array.from({ length: 300 }, (_, i) => ask({ containerId: `c${i}` }));
    const replies = await Promise.all(asked);
    expect(replies.filter((r) => r !== "runLocally" && r.exitStatus === 0)).toHaveLength(300);
  });

  test("says how many requests wait, and in the end that none does", async () => {
    const counts: number[] = [];
    const handlers = { fairlead: idle, "fairlead-ipam": idle };
    const onWaiting = (count: number): void => void counts.push(count);
    await using _server = await serveCni({ socketPath, handlers, log: silentLog, onWaiting });
    // Connected within one turn of the event loop, so that the server finds them together.
    const sockets = Array.from({ length: 5 }, () => connect(socketPath));
    for (const socket of sockets) socket.end();
    await Promise.all(sockets.map((socket) => buffer(socket).catch(() => {})));
    expect(counts).toHaveLength(5);
    expect(counts[0]).toBeGreaterThan(0);
    expect(counts.at(-1)).toBe(0);
  });

  test("tells the handler when it takes too long", async () => {
    await using _server = await serve({
      add: async (_, signal) => {
        await delay(5_000, undefined, { signal });
        return podIp;
      },
    });
    expect(codeOf(await ask())).toBe(11);
  });

  test.each([
    ["ADD", 11],
    ["STATUS", 50],
  ])("answers %s with %i for a handler that does not stop", async (command, code) => {
    const stuck = () => new Promise<never>(() => {});
    // Not disposed with `await using`: it would wait for the handler, for the usual three seconds.
    const server = await serve({ add: stuck, status: stuck });
    expect(codeOf(await ask({ command }))).toBe(code);
    await server[Symbol.asyncDispose]();
  });

  test("tells the handler when the launcher is gone", async () => {
    const ended = Promise.withResolvers<unknown>();
    await using _server = await serve({
      add: async (_, signal) => {
        signal.addEventListener("abort", () => ended.resolve(signal.reason));
        socket.destroy();
        await ended.promise;
        throw signal.reason;
      },
    });
    const socket = await open();
    socket.write(encodeRequest(requestOf({})));
    expect(await ended.promise).toMatchObject({ message: "The launcher is gone" });
  });

  test("does not wait for a request that does not come, or not whole", async () => {
    await using _server = await serve();
    const frame = encodeRequest(requestOf({}));
    const startedAtMs = performance.now();
    const halves = [0, 3, 20, frame.length - 1].map(async (length) => {
      const socket = await open();
      socket.write(frame.subarray(0, length));
      return (await buffer(socket)).length;
    });
    const [answer, elapsedMs] = await timeLived(() => ask());
    expect(answer).toMatchObject({ exitStatus: 0 });
    expect(elapsedMs).toBeLessThan(deadlines.receiveMs);
    expect(await Promise.all(halves)).toEqual([0, 0, 0, 0]);
    expect(performance.now() - startedAtMs).toBeGreaterThan(deadlines.receiveMs - 10);
  });

  test.each([
    ["of another protocol", (frame: Buffer) => void frame.write("GET / HT")],
    ["of another version", (frame: Buffer) => void frame.writeUInt32LE(2, 4)],
    ["beyond the limits", (frame: Buffer) => void frame.writeUInt32LE(2 ** 31, 12)],
  ])("cuts off a request %s at once", async (_, spoil) => {
    await using _server = await serve();
    const frame = encodeRequest(requestOf({}));
    spoil(frame);
    const socket = await open();
    socket.on("error", () => undefined);
    socket.write(frame);
    const [octets, elapsedMs] = await timeLived(() => buffer(socket));
    expect(octets).toHaveLength(0);
    expect(elapsedMs).toBeLessThan(deadlines.receiveMs);
  });

  test("answers what is in flight before it stops", async () => {
    const begun = Promise.withResolvers<void>();
    const server = await serve({
      add: async () => {
        begun.resolve();
        await delay(100);
        return podIp;
      },
    });
    const reply = ask();
    await begun.promise;
    await server[Symbol.asyncDispose]();
    expect(await reply).toMatchObject({ exitStatus: 0 });
    await expect(open()).rejects.toThrow("ENOENT");
  });
});
