// Processes that run the real protocol against a store of which somebody else decides everything: who
// is next, what a read sees, whether a write takes effect, when, how often, and whether its answer
// arrives; who dies, and when.
import { createHash } from "node:crypto";
import type { Cidr } from "../../../core/address.ts";
import type { ClaimAgent } from "../../../ipam/claims/agent.ts";
import type { Reply, Request, Steps } from "../../../ipam/claims/step.ts";
import type { ClaimEntry } from "../../../ipam/claims/store.ts";

type WriteRequest = Extract<Request, { kind: "create" | "replace" | "remove" }>;

export interface Program {
  /** Whose blocks its agent holds. Programs of one node run one after the other on one machine. */
  readonly node?: string;
  /** Begins it, also again after it was killed: `life` counts. */
  readonly start: (life: number) => { readonly steps: Steps<unknown>; readonly agent?: ClaimAgent };
  /** It may begin when this holds. */
  readonly isDue?: (world: World) => boolean;
  /** Is not killed, or is not started again. */
  readonly lives?: number;
}

interface Process {
  readonly name: string;
  readonly program: Program;
  life: number;
  state: "waiting" | "running" | "done" | "dead";
  steps: Steps<unknown> | undefined;
  agent: ClaimAgent | undefined;
  pending: Request | undefined;
  /** All answers it had: what it is in is a function of these. */
  history: string;
}

export interface Scenario {
  readonly name: string;
  readonly programs: () => Readonly<Record<string, Program>>;
  /** Answers that are lost, late, repeated or out of date, in all. */
  readonly faults: number;
  readonly kills: number;
  /** What the store holds at first. */
  readonly prepare?: (store: SimulatedStore) => void;
  /** Throws for what must not be so at the end, after all faults. */
  readonly atEnd?: (world: World) => void;
}

/** Of one world, and of every other that has come the same way. */
export interface Choice {
  readonly label: string;
  readonly take: (world: World) => void;
}

/** The contract, with every version of each key; revisions count per key. */
export class SimulatedStore {
  readonly #history = new Map<string, (ClaimEntry | undefined)[]>();

  current(key: string): ClaimEntry | undefined {
    return this.#history.get(key)?.at(-1);
  }

  keys(prefix = ""): readonly string[] {
    return [...this.#history.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  present(request: Request): readonly ClaimEntry[] {
    const keys = this.#keysOf(request);
    return keys.flatMap((key) => this.current(key) ?? []);
  }

  #keysOf(request: Request): readonly string[] {
    if (request.kind === "get") return [request.key];
    return request.kind === "list" ? this.keys(request.prefix) : [];
  }

  /** What reads may give: the present first, then, of one key each, what it was before. */
  readings(request: Request): readonly (readonly ClaimEntry[])[] {
    const keys = this.#keysOf(request);
    const now = keys.map((key) => this.current(key));
    const readings = [now];
    for (const [at, key] of keys.entries()) {
      const past = [undefined, ...(this.#history.get(key) ?? [])].slice(0, -1);
      for (const older of past) readings.push(now.with(at, older));
    }
    const texts = new Map(readings.map((reading) => [JSON.stringify(reading), reading]));
    return [...texts.values()].map((reading) => reading.filter((entry) => entry !== undefined));
  }

  write(request: WriteRequest): Reply {
    const key = request.kind === "replace" ? request.entry.key : request.key;
    const versions = this.#history.get(key) ?? [];
    const last = versions.at(-1);
    const revision = String(versions.length + 1);
    const isMet =
      request.kind === "create"
        ? last === undefined
        : last?.revision ===
          (request.kind === "replace" ? request.entry.revision : request.revision);
    if (!isMet) return { kind: "conflict" };
    const value =
      request.kind === "create"
        ? request.value
        : request.kind === "replace"
          ? request.entry.value
          : undefined;
    versions.push(value === undefined ? undefined : { key, value, revision });
    this.#history.set(key, versions);
    return { kind: "written", revision };
  }

  toString(): string {
    return JSON.stringify([...this.#history].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

export class World {
  readonly store = new SimulatedStore();
  readonly processes: readonly Process[];
  readonly trace: string[] = [];
  #inFlight: WriteRequest[] = [];
  #faults: number;
  #kills: number;
  /** Blocks with pods on them, by node: they outlive the process. */
  readonly #inUse = new Map<string, Set<Cidr>>();

  constructor(scenario: Scenario) {
    this.#faults = scenario.faults;
    this.#kills = scenario.kills;
    scenario.prepare?.(this.store);
    this.processes = Object.entries(scenario.programs()).map(([name, program]) => ({
      name,
      program,
      life: 0,
      state: "waiting",
      steps: undefined,
      agent: undefined,
      pending: undefined,
      history: "",
    }));
    this.#startDue();
  }

  /** The operator's word: this node's machine is gone, and its pods with it. */
  bury(node: string): void {
    this.#inUse.delete(node);
  }

  process(name: string): Process {
    return this.processes.find((one) => one.name === name)!;
  }

  /** Everything that may happen next. The first is always free of faults. */
  choices(): readonly Choice[] {
    const live = this.processes.flatMap((process) => this.#choicesOf(process));
    const late = this.#inFlight.map((request, at) => ({
      label: `late ${describe(request)}`,
      take: (world: World): void => {
        world.#inFlight = world.#inFlight.toSpliced(at, 1);
        world.store.write(request);
      },
    }));
    const faults = this.processes.flatMap((process) => this.#faultsOf(process));
    return [...live, ...late, ...faults];
  }

  take({ label, take }: Choice): void {
    this.trace.push(label);
    take(this);
    this.#startDue();
    this.#checkInvariants();
  }

  /** Two worlds with the same key have the same future. */
  key(): string {
    const processes = this.processes.map(
      ({ state, life, history }) => `${state} ${life} ${history}`,
    );
    const inFlight = this.#inFlight.map((request) => JSON.stringify(request)).sort();
    const uses = [...this.#inUse].map(([node, blocks]) => `${node} ${[...blocks].sort().join()}`);
    return digest(
      JSON.stringify([processes, inFlight, uses.sort(), this.#faults, this.#kills]) +
        String(this.store),
    );
  }

  /** Runs steps to their end without faults: for what comes after all trouble. */
  runAlone<T>(steps: Steps<T>, agent?: ClaimAgent, node?: string): T {
    let step = steps.next();
    for (let count = 0; step.done !== true; count++) {
      if (count > 2000) throw new Error("no end after 2000 steps without faults");
      step = steps.next(answer(this.store, step.value));
      if (agent !== undefined && node !== undefined) this.#note(node, agent);
      this.#checkInvariants();
    }
    return step.value;
  }

  #choicesOf({ name, state, life, program, pending }: Process): Choice[] {
    if (state === "dead" && life < (program.lives ?? 2)) {
      return [
        { label: `${name} starts again`, take: (world) => world.#start(world.process(name)) },
      ];
    }
    if (state !== "running" || pending === undefined) return [];
    const take = (world: World): void => world.#reply(name, answer(world.store, pending));
    return [{ label: `${name} ${describe(pending)}`, take }];
  }

  #faultsOf({ name, state, program, pending }: Process): Choice[] {
    if (state !== "running" || pending === undefined) return [];
    const choices: Choice[] = [];
    const fault = (what: string, take: Choice["take"]): void => {
      if (this.#faults === 0) return;
      const label = `${name} ${describe(pending)}, ${what}`;
      choices.push({ label, take: (world) => (world.#faults--, take(world)) });
    };
    const kill = (what: string, take: Choice["take"]): void => {
      if (this.#kills === 0 || program.node === undefined) return;
      const label = `${name} dies ${what} ${describe(pending)}`;
      choices.push({ label, take: (world) => (take(world), world.#kill(name)) });
    };
    kill("before", () => {});
    fault("no answer", (world) => {
      if (isWrite(pending)) world.store.write(pending);
      world.#reply(name, { kind: "uncertain" });
    });
    if (isWrite(pending)) {
      fault("late", (world) => {
        world.#inFlight = [...world.#inFlight, pending];
        world.#reply(name, { kind: "uncertain" });
      });
      fault("repeated late", (world) => {
        const reply = world.store.write(pending);
        world.#inFlight = [...world.#inFlight, pending];
        world.#reply(name, reply);
      });
      kill("after", (world) => void world.store.write(pending));
      kill("and leaves under way", (world) => {
        world.#inFlight = [...world.#inFlight, pending];
      });
    } else if (this.#faults > 0) {
      for (const entries of this.store.readings(pending).slice(1)) {
        const what = `as of before (${entries.length})`;
        fault(what, (world) => world.#reply(name, { kind: "entries", entries }));
      }
    }
    return choices;
  }

  #kill(name: string): void {
    this.#kills--;
    const process = this.process(name);
    process.state = "dead";
    process.pending = undefined;
    process.agent = undefined;
  }

  #startDue(): void {
    for (const process of this.processes) {
      if (process.state === "waiting" && process.program.isDue?.(this) !== false)
        this.#start(process);
    }
  }

  #start(process: Process): void {
    process.life++;
    const { steps, agent } = process.program.start(process.life);
    process.state = "running";
    process.steps = steps;
    process.agent = agent;
    process.history = digest(`${process.name} ${process.life}`);
    this.#advance(process, steps.next());
  }

  #reply(name: string, reply: Reply): void {
    const process = this.process(name);
    process.history = digest(process.history + JSON.stringify(reply));
    this.#advance(process, process.steps!.next(reply));
  }

  #advance(process: Process, first: IteratorResult<Request, unknown>): void {
    let step = first;
    // What passes in time changes nothing but who is next, which is chosen anyway.
    while (step.done !== true && step.value.kind === "wait")
      step = process.steps!.next({ kind: "waited" });
    process.pending = step.done === true ? undefined : step.value;
    if (step.done === true) process.state = "done";
    const { agent, program } = process;
    if (agent !== undefined && program.node !== undefined) this.#note(program.node, agent);
  }

  #note(node: string, agent: ClaimAgent): void {
    const uses = this.#inUse.get(node) ?? new Set();
    for (const { block } of agent.held) uses.add(block);
    for (const { block } of agent.leaving) uses.delete(block);
    this.#inUse.set(node, uses);
  }

  #checkInvariants(): void {
    const users = new Map<Cidr, string>();
    for (const [node, blocks] of this.#inUse) {
      for (const block of blocks) {
        const other = users.get(block);
        if (other !== undefined) throw new Error(`${block} is used by ${other} and ${node}`);
        users.set(block, node);
      }
    }
  }
}

function answer(store: SimulatedStore, request: Request): Reply {
  if (request.kind === "wait") return { kind: "waited" };
  if (isWrite(request)) return store.write(request);
  return { kind: "entries", entries: store.present(request) };
}

const isWrite = (request: Request): request is WriteRequest =>
  request.kind === "create" || request.kind === "replace" || request.kind === "remove";

const describe = (request: Request): string => {
  switch (request.kind) {
    case "list":
      return `list ${request.prefix}`;
    case "wait":
      return "wait";
    case "replace":
      return `replace ${request.entry.key}@${request.entry.revision}`;
    case "remove":
      return `remove ${request.key}@${request.revision}`;
    default:
      return `${request.kind} ${request.key}`;
  }
};

const digest = (text: string): string => createHash("sha1").update(text).digest("base64");
