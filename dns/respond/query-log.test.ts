import { expect, test } from "vitest";
import type { LogFields } from "../../core/log.ts";
import { encodeMessage } from "../message/encode.ts";
import { type Message, Opcode, Rcode, RecordType } from "../message/message.ts";
import { parseName } from "../message/name.ts";
import { type NotedAnswer, QueryLog, type QueryLogSettings } from "./query-log.ts";

const message = (name: string): Message => ({
  id: 1,
  isResponse: true,
  opcode: Opcode.query,
  authoritative: false,
  truncated: false,
  recursionDesired: true,
  recursionAvailable: true,
  authenticData: false,
  checkingDisabled: false,
  rcode: Rcode.NXDOMAIN,
  questions: [{ name: parseName(name)!, type: RecordType.AAAA, class: 1 }],
  answers: [],
  authorities: [],
  additionals: [],
});

const noted = (name: string): NotedAnswer => ({
  query: new Uint8Array(12),
  answer: encodeMessage(message(name)),
  client: { address: "10.244.1.7", transport: "udp" },
  elapsedMs: 0.0421,
});

function logOf(settings: QueryLogSettings) {
  const lines: (readonly [string, LogFields])[] = [];
  const time = { nowMs: 0 };
  const clock = { nowMs: () => time.nowMs, monotonicMs: () => time.nowMs };
  const log = new QueryLog(settings, clock, (fields, text) => lines.push([text, fields]));
  return { log, lines, time };
}

test("QueryLog says who asked what, and what became of it", () => {
  const { log, lines } = logOf({ share: 1, perSecond: 10 });
  log.note(noted("nosuch.example"));
  expect(lines).toEqual([
    [
      "query",
      {
        client: "10.244.1.7",
        proto: "udp",
        ms: 0.042,
        octets: 32,
        name: "nosuch.example",
        type: "AAAA",
        rcode: "NXDOMAIN",
        answers: 0,
      },
    ],
  ]);
});

test.each([
  [0, 0],
  [0.01, 10],
  [0.25, 250],
  [1, 1000],
])("of a share of %d it takes %d of 1000", (share, expected) => {
  const { log, lines } = logOf({ share, perSecond: 1000 });
  for (let n = 0; n < 1000; n++) log.note(noted("a.example"));
  expect(Math.abs(lines.length - expected)).toBeLessThanOrEqual(1);
});

test("past its bound it leaves lines out, and says how many", () => {
  const { log, lines, time } = logOf({ share: 1, perSecond: 5 });
  for (let n = 0; n < 20; n++) log.note(noted("a.example"));
  expect(lines).toHaveLength(5);
  time.nowMs = 1000;
  log.note(noted("b.example"));
  expect(lines.slice(5)).toMatchObject([
    ["queries left out of the log", { queries: 15 }],
    ["query", { name: "b.example" }],
  ]);
});
