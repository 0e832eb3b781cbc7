// Where an answer comes from: a query of the operator's, followed through all that has a part in it.
import type { Clock } from "../../core/clock.ts";
import { toError } from "../../core/error.ts";
import { RecordClass } from "../message/message.ts";
import { type Name, formatName, nameProblem, parseName } from "../message/name.ts";
import { rcodeText, recordText, typeText } from "../message/record-text.ts";
import type { Query, Resolve } from "./resolver.ts";
import type { TraceStep } from "./trace.ts";

/** What is to be explained. Plain data, made to be cloned to a thread. */
export interface ExplainRequest {
  /** Absolute, with or without the last dot. */
  readonly name: string;
  readonly type: number;
  /** As whom: what a client's answer depends on. */
  readonly address: string;
}

export interface Explanation {
  readonly name: string;
  readonly type: string;
  readonly rcode: string;
  /** RFC 8914 INFO-CODE. */
  readonly extendedError?: number;
  /** Whether this client gets anything but REFUSED. */
  readonly mayAsk: boolean;
  readonly isAuthoritative: boolean;
  readonly elapsedMs: number;
  /** In the order in which they were done. */
  readonly steps: readonly TraceStep[];
  /** In presentation format. */
  readonly answers: readonly string[];
  readonly authorities: readonly string[];
}

export interface Explaining {
  readonly resolve: Resolve;
  readonly isAllowed: (address: string) => boolean;
  readonly clock: Clock;
}

/** A chain of CNAMEs below a long search list has fewer. */
const maxSteps = 256;

/** Resolves as for the client itself. Throws where the name is none. */
export async function explain(
  { name: text, type, address }: ExplainRequest,
  { resolve, isAllowed, clock }: Explaining,
): Promise<Explanation> {
  const name = parseName(text);
  if (name === undefined)
    throw new Error(`Cannot ask for "${shortened(text)}": ${nameProblem(text)}`);
  const steps: TraceStep[] = [];
  const startedAtMs = clock.monotonicMs();
  const answer = await resolve(
    queryFor(name, { type, address }, (step) => {
      if (steps.length < maxSteps) steps.push(step);
    }),
  );
  return {
    name: formatName(name),
    type: typeText(type),
    rcode: rcodeText(answer.rcode),
    ...(answer.extendedError !== undefined && { extendedError: answer.extendedError }),
    mayAsk: isAllowed(address),
    isAuthoritative: answer.authoritative,
    elapsedMs: clock.monotonicMs() - startedAtMs,
    steps,
    answers: answer.answers.map(recordText),
    authorities: answer.authorities.map(recordText),
  };
}

const shortened = (text: string): string => (text.length > 80 ? `${text.slice(0, 79)}…` : text);

const queryFor = (
  name: Name,
  { type, address }: Pick<ExplainRequest, "type" | "address">,
  trace: (step: TraceStep) => void,
): Query => ({
  client: { address, transport: "udp" },
  question: { name, type, class: RecordClass.IN },
  recursionDesired: true,
  checkingDisabled: false,
  dnssecOk: false,
  trace,
});

export type ExplainOutcome =
  | { readonly kind: "explained"; readonly explanation: Explanation }
  | { readonly kind: "failed"; readonly problem: string };

/** As {@link explain}, never rejecting. */
export async function explainOutcome(
  request: ExplainRequest,
  explaining: Explaining,
): Promise<ExplainOutcome> {
  try {
    return { kind: "explained", explanation: await explain(request, explaining) };
  } catch (thrown) {
    return { kind: "failed", problem: toError(thrown).message };
  }
}
