// Traffic that is counted, as a program. `serve` gives back every datagram, and what a connection says.
// `send ADDRESS` sends a numbered datagram every millisecond and opens a connection every 20, until its
// input ends; then it prints what became of them as one JSON object.
import { createSocket } from "node:dgram";
import { createConnection, createServer, isIPv6 } from "node:net";
import { argv } from "node:process";
import { setTimeout as delay } from "node:timers/promises";

export interface FlowCount {
  readonly sent: number;
  readonly returned: number;
  readonly connections: number;
  /** Refused, reset, or without an answer for five seconds. */
  readonly failed: number;
}

const port = 5301;
const connectEveryMs = 20;
const connectDeadlineMs = 5_000;
/**
 * Not more are on their way, so that a machine that lets a process wait overflows no socket's buffer: what
 * is lost was lost on the way. Where nothing comes back, sending goes on all the same.
 */
const window = 64;
const stalledMs = 200;
/** For the last ones to return. */
const lastMs = 1_500;

function serve(): void {
  for (const type of ["udp4", "udp6"] as const) {
    const socket = createSocket({ type, ...(type === "udp6" && { ipv6Only: true }) });
    socket.on("message", (message, from) => socket.send(message, from.port, from.address));
    socket.bind(port);
  }
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  server.listen(port, () => process.stdout.write("serving\n"));
}

async function send(address: string): Promise<FlowCount> {
  const stop = new AbortController();
  process.stdin.on("end", () => stop.abort()).resume();
  const returned = new Set<number>();
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  let [highest, sent, returnedAtMs] = [0, 0, performance.now()];
  socket.on("message", (message) => {
    const number = message.readUInt32LE(0);
    returned.add(number);
    highest = Math.max(highest, number);
    returnedAtMs = performance.now();
  });
  // Such as that there is no route: the datagram is lost.
  socket.on("error", () => {});
  const sending = setInterval(() => {
    const isStalled = performance.now() - returnedAtMs > stalledMs;
    if (sent - highest >= window && !isStalled) return;
    const message = Buffer.alloc(64);
    message.writeUInt32LE(++sent);
    socket.send(message, port, address);
  }, 1);
  const [connections, failed] = await connectAgainAndAgain(address, stop.signal);
  clearInterval(sending);
  await delay(lastMs);
  socket.close();
  return { sent, returned: returned.size, connections, failed };
}

async function connectAgainAndAgain(address: string, signal: AbortSignal) {
  let [connections, failed] = [0, 0];
  while (!signal.aborted) {
    connections++;
    if (!(await connectOnce(address))) failed++;
    await delay(connectEveryMs);
  }
  return [connections, failed] as const;
}

function connectOnce(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const end = (isAnswered: boolean): void => {
      socket.destroy();
      resolve(isAnswered);
    };
    socket.setTimeout(connectDeadlineMs, () => end(false));
    socket.on("error", () => end(false)).on("close", () => end(false));
    socket.on("data", () => end(true));
    socket.write("x");
  });
}

if (import.meta.main) {
  const [role, address = ""] = argv.slice(2);
  if (role === "serve") serve();
  else process.stdout.write(`${JSON.stringify(await send(address))}\n`, () => process.exit());
}
