// A real resolver on its real sockets, and messages that nobody should send, from clients and from
// upstreams: it goes on answering, gives nothing that is no answer, and takes no more memory.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { FrameReader } from "../../dns/message/tcp-frame.ts";
import { decodeMessage } from "../../dns/message/decode.ts";
import { encodeMessage } from "../../dns/message/encode.ts";
import { type Message, RecordType } from "../../dns/message/message.ts";
import { parseName } from "../../dns/message/name.ts";
import { ip } from "../support/builders.ts";
import { seededRandom } from "../support/random.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { aMutated, mutations, type Mutated } from "./fuzz-input.ts";
import { type Asked, startUpstream } from "./scripted-upstream.ts";
import { ask, askUntil, ownAddress, startTestDns, testTarget } from "./test-server.ts";
import { framed, judged, queryOctets } from "./wire-client.ts";

export interface FuzzOptions {
  readonly count: number;
  readonly seed: number;
  /** Default: in batches, as it runs. */
  readonly udp?: "batched" | "plain";
}

/** How many messages were sent, and how many of them were answered how. */
export type Outcomes = Record<string, number>;

/** No answer may take longer. */
const patienceMs = 30_000;
const maxUdpAnswer = 1232;
/** What a resolver may grow by: caches have 28 MiB, the rest is V8's room. */
const maxGrowth = 256e6;

const web = "web.prod.svc.cluster.local";

/** Over UDP and TCP. Throws naming the seed when the resolver stops, or answers what is no answer. */
export async function fuzzQueries({ count, seed, udp }: FuzzOptions): Promise<Outcomes> {
  await using server = await startTestDns(udp && { udp });
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const random = seededRandom(seed);
  const outcomes: Outcomes = { sent: 0 };
  const before = process.memoryUsage.rss();
  for (let left = count; left > 0; left -= 50) {
    const messages = Array.from({ length: Math.min(50, left) }, () => aMutated(random));
    const name = `seed ${seed}, messages from ${count - left}`;
    if (random.below(4) === 0) await sendOverTcp(messages, outcomes, name);
    else await sendOverUdp(messages, outcomes, name);
    outcomes["sent"]! += messages.length;
  }
  const growth = process.memoryUsage.rss() - before;
  if (growth > maxGrowth) throw new Error(`${growth} octets more in memory (seed ${seed})`);
  if (server.counters().restarts > 0) throw new Error(`The resolver's thread ended (seed ${seed})`);
  return outcomes;
}

// Answers are looked at as they come; the last is that to a question that has one.
async function sendOverUdp(
  messages: readonly Mutated[],
  outcomes: Outcomes,
  name: string,
): Promise<void> {
  const socket = createSocket("udp4");
  socket.connect(testTarget.port, testTarget.address);
  await once(socket, "connect");
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const ids = new Set(messages.filter(({ octets }) => octets.length > 1).map(idOf));
  socket.on("message", (answer) => {
    try {
      checkAnswer(answer, ids, maxUdpAnswer);
      tally(outcomes, answer);
    } catch (cause) {
      failed.reject(new Error(`Over UDP, ${name}`, { cause }));
    }
  });
  try {
    for (const { octets } of messages) await send(socket, octets);
    await Promise.race([failed.promise, stillAnswers(name)]);
  } finally {
    socket.close();
  }
}

const send = (socket: Socket, octets: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.send(octets, (error) => (error === null ? resolve() : reject(error)));
  });

async function stillAnswers(name: string): Promise<void> {
  const untilMs = performance.now() + patienceMs;
  while (performance.now() < untilMs) {
    const answer = await ask(web, "A").catch(() => undefined);
    if (answer?.answers[0] === "A 10.96.1.1") return;
  }
  throw new Error(`No answer any more: ${name}`);
}

// On one connection, until it is closed for what it is or the question at its end is answered.
async function sendOverTcp(
  messages: readonly Mutated[],
  outcomes: Outcomes,
  name: string,
): Promise<void> {
  const last = queryOctets(web, "A", { id: 4711 });
  const ids = new Set([...messages.map(idOf), 4711]);
  const ended = Promise.withResolvers<void>();
  const socket = connect({ host: testTarget.address, port: testTarget.port });
  const late = setTimeout(() => ended.reject(new Error("a connection hangs")), patienceMs);
  const frames = new FrameReader();
  socket.on("error", () => {});
  socket.on("close", () => ended.resolve());
  socket.on("data", (chunk) => {
    try {
      for (const answer of frames.push(chunk)) {
        checkAnswer(answer, ids, 65_535);
        tally(outcomes, answer);
        if (idOf({ octets: Buffer.from(answer) }) === 4711) ended.resolve();
      }
    } catch (cause) {
      ended.reject(cause instanceof Error ? cause : new Error(String(cause)));
    }
  });
  socket.write(framed(...messages.map(({ octets }) => octets), last));
  try {
    await ended.promise;
  } catch (cause) {
    throw new Error(`Over TCP, ${name}`, { cause });
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
  await stillAnswers(name);
}

const idOf = ({ octets }: Pick<Mutated, "octets">): number =>
  octets.length > 1 ? octets.readUInt16BE(0) : -1;

function checkAnswer(answer: Uint8Array, ids: ReadonlySet<number>, most: number): void {
  if (answer.length > most) throw new Error(`An answer of ${answer.length} octets`);
  const message = decodeMessage(answer);
  // A second reader, which is not ours.
  if (message.questions.length > 0) judged(answer);
  if (!message.isResponse || !ids.has(message.id)) throw new Error("An answer to nothing");
}

function tally(outcomes: Outcomes, answer: Uint8Array): void {
  const rcode = String((answer[3] ?? 0) & 15);
  outcomes[rcode] = (outcomes[rcode] ?? 0) + 1;
}

/** An address that only forged answers have. */
const forged = "203.0.113.66";
const real = "192.0.2.10";

/** Answers that are none, in front of the real one. */
export async function fuzzUpstream({ count, seed }: FuzzOptions): Promise<Outcomes> {
  const random = seededRandom(seed);
  await using other = await startUpstream(() => []);
  const answerTo = ({ query }: Asked, address: string): Message => ({
    ...query,
    isResponse: true,
    recursionAvailable: true,
    answers: query.questions.map(({ name }) => ({
      name,
      type: RecordType.A,
      class: 1,
      ttl: 60,
      data: { kind: "address", address: ip(address) },
    })),
  });
  const forgeries: readonly ((asked: Asked) => Message | Uint8Array)[] = [
    (asked) => ({
      ...answerTo(asked, forged),
      id: (asked.query.id + 1 + random.below(65_535)) & 0xffff,
    }),
    (asked) => ({
      ...answerTo(asked, forged),
      questions: [{ ...asked.query.questions[0]!, name: parseName("other.example.com")! }],
    }),
    (asked) => ({ ...answerTo(asked, forged), questions: [] }),
    (asked) => ({ ...answerTo(asked, forged), isResponse: false }),
    (asked) => ({ ...answerTo(asked, forged), opcode: 5 }),
    (asked) => {
      const octets = Buffer.from(encodeMessage(answerTo(asked, forged)));
      // Its id may not be right: a mutated right answer might be one.
      octets.writeUInt16BE((asked.query.id + 1) & 0xffff, 0);
      const kinds = Object.values(mutations);
      return kinds[random.below(kinds.length)]!(octets, random).subarray(0, 1200);
    },
  ];
  await using upstream = await startUpstream((asked, _self, client) => {
    const lies = Array.from({ length: random.below(3) }, () =>
      forgeries[random.below(forgeries.length)]!(asked),
    );
    // The right answer in all but its source.
    if (client !== undefined && random.below(2) === 0) {
      const octets = encodeMessage(answerTo(asked, forged));
      other.udp.send(octets, client.port, client.address);
    }
    return [...lies.slice(0, asked.transport === "tcp" ? 0 : 2), answerTo(asked, real)];
  });
  await using server = await startTestDns({ upstreams: [upstream.upstream] });
  server.publish(fixtureSnapshot());
  const outcomes: Outcomes = { sent: 0 };
  for (let i = 0; i < count; i += 20) {
    const names = Array.from(
      { length: Math.min(20, count - i) },
      (_, n) => `n${i + n}.example.org`,
    );
    const answers = await Promise.all(names.map((name) => ask(name, "A")));
    for (const { rcode, answers: records } of answers) {
      if (records.some((record) => record.includes(forged))) {
        throw new Error(`A forged answer was believed (seed ${seed}, questions from ${i})`);
      }
      const kind = records.includes(`A ${real}`) ? "real" : rcode;
      outcomes[kind] = (outcomes[kind] ?? 0) + 1;
    }
    outcomes["sent"]! += names.length;
  }
  return outcomes;
}

export interface Flood {
  readonly flooded: number;
  readonly answered: number;
  /** Milliseconds, of the other client's questions, with what it asked again. */
  readonly slowest: number;
}

/** One client asks as fast as it can for what only upstreams know; another has questions of the cluster. */
export async function flood({ ms }: { readonly ms: number }): Promise<Flood> {
  await using silent = await startUpstream(() => []);
  await using server = await startTestDns({ upstreams: [silent.upstream] });
  server.publish(fixtureSnapshot());
  await askUntil(web, "A", ({ rcode }) => rcode === "NOERROR");
  const flooder = createSocket("udp4");
  flooder.bind({ address: ownAddress(77), port: 0 });
  await once(flooder, "listening");
  let flooded = 0;
  const untilMs = performance.now() + ms;
  const flooding = (async () => {
    while (performance.now() < untilMs) {
      for (let i = 0; i < 200; i++) {
        const query = queryOctets(`x${flooded++}.example.org`, "A");
        flooder.send(query, testTarget.port, testTarget.address);
      }
      await delay(1);
    }
  })();
  let [answered, slowest] = [0, 0];
  while (performance.now() < untilMs) {
    const startedAtMs = performance.now();
    await stillAnswers("during a flood");
    slowest = Math.max(slowest, performance.now() - startedAtMs);
    answered++;
  }
  await flooding;
  flooder.close();
  return { flooded, answered, slowest };
}
