// Random and mutated input to the dispatcher over the real handlers, to the daemon's socket and to the
// launcher: each ends in an error of the specification, and nothing is left of any of it.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout } from "node:timers/promises";
import type { Random } from "../../core/clock.ts";
import { dispatch } from "../../core/cni/dispatch.ts";
import { decodeReply, encodeReply, encodeRequest } from "../../core/cni/launcher-protocol.ts";
import { emptyResult } from "../../core/cni/result.ts";
import type { CniHandlers, CniReply } from "../../core/cni/types.ts";
import { silentLog } from "../../core/log.ts";
import { serveCni } from "../../daemon/cni/cni-server.ts";
import {
  aNetworkRequest,
  createFakeMachine,
  createNode,
  dualStackFacts,
  forever,
} from "../attach/fixture.ts";
import { interfaceCidr } from "../support/builders.ts";
import { seededRandom } from "../support/random.ts";
import { type FuzzedRequest, fuzzedRequest, mutate } from "./fuzz-input.ts";
import { createLauncher, listen, runLauncher } from "./launcher-process.ts";

export interface FuzzOptions {
  readonly count: number;
  readonly seed: number;
}

/** How many inputs ended how: "ok", an error code, "closed" (a connection without an answer). */
export type Outcomes = Record<string, number>;

/** No input may take longer; the usual one takes less than a millisecond. */
const hangMs = 5_000;
/** CNI specification, "Error" and "STATUS"; from 100 on a plugin's own (core/cni/error.ts). */
const isSpecified = (code: unknown): boolean => {
  const number = Number(code);
  const isOfSpecification = (number >= 1 && number <= 11) || number === 50 || number === 51;
  return Number.isInteger(code) && (isOfSpecification || (number >= 100 && number < 200));
};

/** Throws naming seed and input when a request does not end as specified, or leaves something. */
export async function fuzzDispatcher({ count, seed }: FuzzOptions): Promise<Outcomes> {
  const random = seededRandom(seed);
  const kernel = createFakeMachine();
  using node = createNode(kernel, { nodeFacts: () => dualStackFacts });
  const outcomes: Outcomes = {};
  for (let i = 0; i < count; i++) {
    const input = fuzzedRequest(random);
    const reply = await inTime(dispatchOf(input, node.handlers), () => describe(seed, i, input));
    tally(
      outcomes,
      outcomeOf(reply, () => describe(seed, i, input)),
    );
  }
  for (const name of new Set(node.records.list().records.map(({ key }) => key.network))) {
    await node.handlers.gc(aNetworkRequest({ name, validAttachments: [] }), forever);
  }
  await node.handlers.settled();
  const left = [...node.leftovers(), ...(kernel.openSandboxes === 0 ? [] : ["open sandboxes"])];
  if (left.length > 0) throw new Error(`Seed ${seed} leaves ${left.join(", ")}`);
  return outcomes;
}

const dispatchOf = ({ environment, stdin }: FuzzedRequest, handlers: CniHandlers) =>
  dispatch(
    { environment, readStdin: async () => stdin.toString("utf8"), about: "" },
    handlers,
    forever,
  );

/** The same against the socket, whole and broken, at once and slowly; many connections at a time. */
export async function fuzzServer({ count, seed }: FuzzOptions): Promise<Outcomes> {
  // Node opens some descriptors for good when it serves and connects for the first time.
  await fuzzSocket({ count: 1, seed });
  const descriptorsBefore = openDescriptors();
  const outcomes = await fuzzSocket({ count, seed });
  await untilClosed(descriptorsBefore);
  return outcomes;
}

async function fuzzSocket({ count, seed }: FuzzOptions): Promise<Outcomes> {
  const random = seededRandom(seed);
  const directory = mkdtempSync(join(tmpdir(), "fairlead-fuzz-"));
  const socketPath = join(directory, "cni.sock");
  const deadlines = { receiveMs: 200, handlerMs: 1_000, replyMs: 2_000 };
  const outcomes: Outcomes = {};
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      const input = fuzzedRequest(random);
      const program = random.below(4) === 0 ? "fairlead-ipam" : "fairlead";
      const frame = encodeRequest({ ...input, program, netnsFd: random.below(64) });
      const octets = random.below(3) === 0 ? frame : mutate(frame, random);
      const say = (): string => `seed ${seed}, connection ${index}: ${octets.toString("base64")}`;
      const answer = await inTime(exchange(socketPath, octets, random), say);
      const reply = answer.length === 0 ? undefined : decodeReply(answer);
      if (reply === undefined) tally(outcomes, "closed");
      else tally(outcomes, reply === "runLocally" ? reply : outcomeOf(reply, say));
    }
  };
  try {
    await using _server = await serveCni({
      socketPath,
      handlers: { fairlead: idleHandlers, "fairlead-ipam": idleHandlers },
      log: silentLog,
      deadlines,
    });
    await Promise.all(Array.from({ length: 32 }, client));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return outcomes;
}

const podIp = { ...emptyResult, ips: [{ address: interfaceCidr("10.244.1.7/32") }] };
const idleHandlers: CniHandlers = {
  add: async () => podIp,
  del: async () => {},
  check: async () => {},
  gc: async () => {},
  status: async () => {},
};

/** Everything that comes back until the connection ends. */
async function exchange(path: string, octets: Buffer, random: Random): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const chunks: Buffer[] = [];
  const socket = connect(path);
  // A server that has heard enough may close before all is written.
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.once("close", () => resolve());
  const isSlow = random.below(8) === 0;
  const cut = isSlow ? random.below(octets.length + 1) : octets.length;
  socket.write(octets.subarray(0, cut));
  if (isSlow) {
    await setImmediate();
    if (socket.writable) socket.write(octets.subarray(cut));
  }
  // Some just stop: the server ends those by its deadline. A whole request gets its reply first.
  if (random.below(256) !== 0) socket.end();
  await promise;
  return Buffer.concat(chunks);
}

/** The launcher, whose daemon answers with broken replies: it prints a whole one, or does without. */
export async function fuzzLauncher({ count, seed }: FuzzOptions): Promise<Outcomes> {
  const random = seededRandom(seed);
  using setup = createLauncher({ deadlineMs: 2_000, retryMs: 0 });
  const outcomes: Outcomes = {};
  for (let i = 0; i < count; i++) {
    const whole = encodeReply({
      exitStatus: random.below(2),
      stdout: "o".repeat(random.below(64)),
      stderr: "e".repeat(random.below(8)),
    });
    const octets = random.below(4) === 0 ? whole : mutate(whole, random);
    await using server = await listen(join(setup.directory, "fuzz.sock"), () => octets);
    const { status, signal, stdout } = await runLauncher({
      launcher: setup.launcher,
      env: { FAIRLEAD_SOCKET: server.path, FAIRLEAD_HOME: setup.home },
    });
    const expected = replyOf(octets);
    const isRight =
      signal === null &&
      (expected === undefined
        ? status === 0 && stdout.startsWith("local plugin.js\n")
        : status === (expected.exitStatus & 0xff) && stdout === expected.stdout);
    if (!isRight) {
      throw new Error(
        `Seed ${seed}, reply ${i}, ${octets.toString("base64")}: ${status} ${signal} ${stdout}`,
      );
    }
    tally(outcomes, expected === undefined ? "local" : "printed");
  }
  return outcomes;
}

/** Undefined for what is no reply, and for one that says to run locally. */
function replyOf(octets: Buffer): CniReply | undefined {
  try {
    const reply = decodeReply(octets);
    return reply === "runLocally" ? undefined : reply;
  } catch {
    return undefined;
  }
}

function outcomeOf({ exitStatus, stdout, stderr }: CniReply, describeInput: () => string): string {
  if (exitStatus === 0) return "ok";
  const error: unknown = JSON.parse(stdout);
  if (typeof error === "object" && error !== null && exitStatus === 1 && stderr === "") {
    const { code, msg, cniVersion } = error as Record<string, unknown>;
    const isWhole = typeof msg === "string" && msg !== "" && typeof cniVersion === "string";
    // What nobody foresaw, core/cni/dispatch.ts: no input may come to that.
    const isUnforeseen = isWhole && msg.startsWith("Cannot serve the request");
    if (isSpecified(code) && isWhole && !isUnforeseen) return String(code);
  }
  throw new Error(`${describeInput()} ends in ${stdout}`);
}

async function inTime<T>(work: Promise<T>, describeInput: () => string): Promise<T> {
  const over = new AbortController();
  const late = setTimeout(hangMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`${describeInput()} does not end`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
    late.catch(() => undefined);
  }
}

const describe = (seed: number, index: number, { environment, stdin }: FuzzedRequest): string =>
  `Seed ${seed}, input ${index}, ${JSON.stringify({ environment, stdin: stdin.toString("base64") })}`;

const tally = (outcomes: Outcomes, outcome: string): void => {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
};

const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

async function untilClosed(before: number): Promise<void> {
  for (let waits = 0; openDescriptors() > before; waits++) {
    if (waits === 100) throw new Error(`${openDescriptors() - before} descriptors are left open`);
    await setTimeout(20);
  }
}
