import { afterEach, beforeEach, expect, test } from "vitest";
import { type Ip } from "../../core/address.ts";
import { dnsAheadElements } from "../../core/desired/dns-ahead.ts";
import { silentLog } from "../../core/log.ts";
import type { Explanation } from "../../dns/handlers/explain.ts";
import { createFakeKernel } from "../../kernel/fake.ts";
import { ip } from "../../test/support/builders.ts";
import { DnsAhead } from "./dns-ahead.ts";

const addresses = [ip("10.96.0.10"), ip("fd00::a")];

let kernel: ReturnType<typeof createFakeKernel>;
beforeEach(() => {
  kernel = createFakeKernel();
});
afterEach(() => kernel[Symbol.dispose]());

/** The addresses for which queries come here. */
const kept = (): readonly Ip[] =>
  addresses.filter(
    (address) => kernel.missingNftElements("fairlead", dnsAheadElements([address])).length === 0,
  );

/** A resolver that answers as it is told. */
function resolver() {
  const state = { rcode: "NXDOMAIN", failure: "", listening: addresses, asked: 0 };
  const explain = (): Promise<Explanation> => {
    state.asked++;
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
  new DnsAhead({ addresses, domain: "cluster.local", server, kernel, log: silentLog });

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
