import type { Clock } from "../../core/clock.ts";
import type { LogFields } from "../../core/log.ts";
import type { Client } from "../handlers/resolver.ts";
import { decodeMessage } from "../message/decode.ts";
import { Rcode, RecordType } from "../message/message.ts";
import { formatName } from "../message/name.ts";

export interface QueryLogSettings {
  /** Which part of the queries, 0 to 1; 0: none. */
  readonly share: number;
  /** Lines a second at most. */
  readonly perSecond: number;
}

export interface NotedAnswer {
  readonly query: Uint8Array;
  readonly answer: Uint8Array;
  readonly client: Client;
  readonly elapsedMs: number;
}

/** Logs a share of the queries, evenly: with 0.01 each hundredth. */
export class QueryLog {
  readonly #settings: QueryLogSettings;
  readonly #clock: Clock;
  readonly #write: (fields: LogFields, message: string) => void;
  #due = 0;
  #secondStartMs = -Infinity;
  #lines = 0;
  #leftOut = 0;

  constructor(
    settings: QueryLogSettings,
    clock: Clock,
    write: (fields: LogFields, message: string) => void,
  ) {
    this.#settings = settings;
    this.#clock = clock;
    this.#write = write;
  }

  note(noted: NotedAnswer): void {
    this.#due += this.#settings.share;
    if (this.#due < 1) return;
    this.#due -= 1;
    if (!this.#hasRoom()) return;
    this.#write(fieldsOf(noted), "query");
  }

  #hasRoom(): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#secondStartMs >= 1000) {
      if (this.#leftOut > 0) this.#write({ queries: this.#leftOut }, "queries left out of the log");
      [this.#secondStartMs, this.#lines, this.#leftOut] = [nowMs, 0, 0];
    }
    if (this.#lines < this.#settings.perSecond) {
      this.#lines++;
      return true;
    }
    this.#leftOut++;
    return false;
  }
}

function fieldsOf({ query, answer, client, elapsedMs }: NotedAnswer): LogFields {
  const facts = {
    client: client.address,
    proto: client.transport,
    ms: Math.round(elapsedMs * 1000) / 1000,
    octets: answer.length,
  };
  try {
    // The answer has the question too, unless the query was none.
    const { questions, rcode, answers, truncated } = decodeMessage(answer);
    const [question] = questions;
    return {
      ...facts,
      ...(question && { name: formatName(question.name), type: nameOf(RecordType, question.type) }),
      rcode: nameOf(Rcode, rcode),
      answers: answers.length,
      ...(truncated && { truncated }),
    };
  } catch {
    return { ...facts, queryOctets: query.length };
  }
}

const nameOf = (names: Readonly<Record<string, number>>, number: number): string =>
  Object.entries(names).find(([, value]) => value === number)?.[0] ?? String(number);
