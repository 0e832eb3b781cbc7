// Many datagrams in one system call, on the real kernel.
import { closeSync } from "node:fs";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { BlockingPoll, longestPollMs, Waker } from "../../kernel/blocking-poll.ts";
import { canBatch, DatagramBatch, datagramOctets } from "../../kernel/datagram-batch.ts";
import { addressFrom, bindUdp, sendUdp } from "../../kernel/udp-socket.ts";
import { ip } from "../support/builders.ts";

// Beyond what programs get that ask for any port.
const port = 61_000 + (process.pid % 4_000);

async function connected(address: string): Promise<Socket> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.connect(port, address);
  await once(socket, "connect");
  return socket;
}

function bound(address: string): Disposable & { readonly fd: number } {
  const fd = bindUdp(ip(address), port, 1 << 20);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

/** Until that many came: loopback needs a moment. */
async function receiveAll(batch: DatagramBatch, fd: number, wanted: number): Promise<number> {
  for (let i = 0; i < 300; i++) {
    const count = batch.receive(fd);
    if (count >= wanted) return count;
    if (count > 0) throw new Error(`${count} came by themselves`);
    await delay(10);
  }
  throw new Error("nothing came");
}

test.each(["127.0.0.1", "::1"])("each answer goes to who asked, from %s", async (address) => {
  expect(canBatch()).toBe(true);
  using socket = bound(address);
  const clients = await Promise.all([1, 2, 3].map(() => connected(address)));
  for (const [i, client] of clients.entries()) client.send(`question ${i}`);
  await delay(200);
  const batch = new DatagramBatch(8);
  expect(await receiveAll(batch, socket.fd, 3)).toBe(3);
  const answers = clients.map(async (client) => String((await once(client, "message"))[0]));
  for (let i = 0; i < 3; i++) {
    const start = batch.start(i);
    const text = Buffer.from(batch.memory.subarray(start, start + batch.length(i))).toString();
    const source = batch.sourceStart(i);
    const sender = batch.memory.subarray(source, source + batch.sourceLength(i));
    expect(addressFrom(sender)).toBe(address);
    // The second is left to somebody else, who answers later.
    if (text === "question 1") expect(sendUdp(socket.fd, Buffer.from("later"), sender)).toBe(true);
    else {
      batch.memory.set(Buffer.from("answer"), start);
      batch.answer(i, 6 + i);
    }
  }
  expect(batch.send(socket.fd)).toBe(0);
  const [first, second, third] = await Promise.all(answers);
  expect(first).toMatch(/^answer/);
  expect(second).toBe("later");
  expect(third).toMatch(/^answer/);
  for (const client of clients) client.close();
});

test("a datagram that is too long is cut, and says so; one that cannot go does not stop others", async () => {
  using socket = bound("127.0.0.1");
  const client = await connected("127.0.0.1");
  client.send(Buffer.alloc(datagramOctets + 1));
  client.send("after");
  await delay(200);
  const batch = new DatagramBatch(4);
  expect(await receiveAll(batch, socket.fd, 2)).toBe(2);
  expect([batch.isCut(0), batch.isCut(1)]).toEqual([true, false]);
  // Port 0 is nobody's.
  batch.memory.fill(0, batch.sourceStart(0) + 2, batch.sourceStart(0) + 4);
  batch.answer(0, 10);
  batch.answer(1, 5);
  const answered = once(client, "message");
  expect(batch.send(socket.fd)).toBe(1);
  expect(String((await answered)[0])).toBe("after");
  client.close();
});

test("a thread in poll(2) is woken at once, and comes back by itself", async () => {
  using waker = new Waker();
  const poll = new URL("../../kernel/blocking-poll.ts", import.meta.url).href;
  const source = `
    import { parentPort, workerData } from "node:worker_threads";
    import { BlockingPoll } from ${JSON.stringify(poll)};
    const poll = new BlockingPoll(workerData);
    for (let i = 0; i < 3; i++) { parentPort.postMessage(i); poll.wait(); }`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const worker = new Worker(url, { workerData: waker.fd });
  const seen: number[] = [];
  worker.on("message", (n: number) => {
    seen.push(n);
    if (n === 0) waker.wake();
  });
  await once(worker, "exit");
  expect(seen).toEqual([0, 1, 2]);
  // The wake was taken: the next one waits again, on this thread.
  const own = new BlockingPoll(waker.fd);
  const startedAtMs = performance.now();
  own.wait();
  expect(performance.now() - startedAtMs).toBeGreaterThan(longestPollMs / 2);
});
