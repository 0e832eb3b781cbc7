import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Ip } from "../../core/address.ts";
import { dnsAheadElements, dnsAheadMs } from "../../core/desired/dns-ahead.ts";
import { silentLog } from "../../core/log.ts";
import type { Explanation } from "../../dns/handlers/explain.ts";
import { createFakeKernel } from "../../kernel/fake.ts";
import { ip } from "../../test/support/builders.ts";
import { DnsAhead } from "./dns-ahead.ts";

const addresses = [ip("10.96.0.10"), ip("fd00::a")];

let [nowMs, wallStepMs] = [0, 0];
// The wall clock is another one.
const clock = { nowMs: () => 1e12 + nowMs + wallStepMs, monotonicMs: () => nowMs };
let kernel: ReturnType<typeof createFakeKernel>;
beforeEach(() => {
  kernel = createFakeKernel();
  [nowMs, wallStepMs] = [5, 0];
});
afterEach(() => kernel[Symbol.dispose]());

/** The addresses for which queries come here. */
const kept = (): readonly Ip[] =>
  addresses.filter(
    (address) => kernel.missingNftElements("fairlead", dnsAheadElements([address])).length === 0,
  );

/** A resolver that answers as it is told. */
function resolver() {
  let wake = (): void => {};
  const state = {
    rcode: "NXDOMAIN",
    failure: "",
    listening: addresses,
    asked: 0,
    /** Until it is woken. */
    isSilent: false,
    wake: () => wake(),
  };
  const explain = async (): Promise<Explanation> => {
    state.asked++;
    if (state.isSilent) await new Promise<void>((resolve) => (wake = resolve));
    if (state.failure !== "") return Promise.reject(new Error(state.failure));
    return Promise.resolve({
      name: "",
      type: "A",
      rcode: state.rcode,
      mayAsk: true,
      isAuthoritative: true,
      elapsedMs: 0,
      steps: [],
      answers: [],
      authorities: [],
    });
  };
  return { state, server: { explain, listening: () => state.listening } };
}

const open = (server: ReturnType<typeof resolver>["server"]): DnsAhead =>
  new DnsAhead({ addresses, domain: "cluster.local", server, kernel, clock, log: silentLog });

/** The question that it began with, and one more. */
async function turn(ahead: DnsAhead): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await ahead.keep();
}

test("queries come for the addresses that are bound and answered, and go when it is disposed", async () => {
  const { state, server } = resolver();
  {
    using ahead = open(server);
    await turn(ahead);
    expect(kept()).toEqual(addresses);
    state.listening = addresses.slice(1);
    await turn(ahead);
    expect(kept()).toEqual(addresses.slice(1));
    expect(state.asked).toBeGreaterThanOrEqual(2);
  }
  expect(kept()).toEqual([]);
});

test("no query comes while the resolver does not know the cluster, or does not answer", async () => {
  const { state, server } = resolver();
  state.rcode = "SERVFAIL";
  using ahead = open(server);
  await turn(ahead);
  expect(kept()).toEqual([]);
  state.rcode = "NXDOMAIN";
  await turn(ahead);
  expect(kept()).toEqual(addresses);
  state.failure = "no answer";
  await turn(ahead);
  expect(kept()).toEqual([]);
});

test("queries go on to come where another daemon has the sockets", async () => {
  const { server } = resolver();
  {
    using ahead = open(server);
    await turn(ahead);
    ahead.noteSuccessor();
  }
  expect(kept()).toEqual(addresses);
});

describe("state()", () => {
  test("says where queries go, since when, and why to others", async () => {
    const { state, server } = resolver();
    state.rcode = "SERVFAIL";
    using ahead = open(server);
    await turn(ahead);
    expect(ahead.state()).toMatchObject({
      addresses: [],
      sinceMs: 1e12 + 5,
      problem: "It does not know the cluster yet",
    });
    state.rcode = "NXDOMAIN";
    nowMs = 1000;
    await turn(ahead);
    nowMs = 2000;
    await turn(ahead);
    expect(ahead.state()).toMatchObject({ addresses, sinceMs: 1e12 + 1000, problem: "" });
    state.failure = "no answer";
    nowMs = 3000;
    await turn(ahead);
    expect(ahead.state()).toMatchObject({
      addresses: [],
      sinceMs: 1e12 + 3000,
      problem: "no answer",
    });
  });

  test("of a resolver that is silent ends when the kernel's element does, and comes back with it", async () => {
    const { state, server } = resolver();
    using ahead = open(server);
    await turn(ahead);
    state.isSilent = true;
    void ahead.keep();
    nowMs += dnsAheadMs - 1;
    expect(ahead.state()).toMatchObject({ addresses, problem: "" });
    nowMs += 501;
    expect(ahead.state()).toMatchObject({
      addresses: [],
      sinceMs: 1e12 + 5 + dnsAheadMs,
      problem: "The resolver's threads do not answer",
    });
    state.isSilent = false;
    state.wake();
    await turn(ahead);
    expect(ahead.state()).toMatchObject({
      addresses,
      sinceMs: 1e12 + 505 + dnsAheadMs,
      problem: "",
    });
  });

  test("says for how long whatever the wall clock does", async () => {
    const { state, server } = resolver();
    state.rcode = "SERVFAIL";
    using ahead = open(server);
    await turn(ahead);
    wallStepMs = -3_600_000;
    nowMs += 700;
    expect(ahead.state()).toMatchObject({ sinceMs: 1e12 + 5, forMs: 700 });
  });

  test("of a kernel that takes no rules says so when its element has ended", async () => {
    const { server } = resolver();
    using ahead = open(server);
    await turn(ahead);
    vi.spyOn(kernel, "putNftElements").mockImplementation(() => {
      throw new Error("no memory");
    });
    await turn(ahead);
    expect(ahead.state()).toMatchObject({
      addresses,
      problem: expect.stringContaining("no memory"),
    });
    nowMs += dnsAheadMs;
    expect(ahead.state()).toMatchObject({ addresses: [], sinceMs: 1e12 + 5 + dnsAheadMs });
  });
});
