// ADD where the pairs are made in a thread, as the daemon does in a burst: on the real kernel.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CniCode } from "../../core/cni/error.ts";
import type { AttachmentRequest } from "../../core/cni/types.ts";
import { silentLog } from "../../core/log.ts";
import { openKernel } from "../../kernel/linux.ts";
import { PairThread } from "../../kernel/pair-thread.ts";
import { type TestNamespace, createNamespace } from "../support/netns.ts";
import { type TestNode, aRequest, createNode, dualStackFacts, forever } from "./fixture.ts";

let stack: DisposableStack;
let host: TestNamespace;
let node: TestNode;
let thread: PairThread;
/** How many pairs the thread was given. */
let given = 0;
/** Called with each. */
let onGiven: () => void;

beforeEach(async () => {
  stack = new DisposableStack();
  host = stack.use(createNamespace());
  host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire");
  for (const end of ["uplink", "wire"]) host.run("ip", "link", "set", end, "up");
  host.run("ip", "address", "add", "192.0.2.1/24", "dev", "uplink");
  host.run("ip", "address", "add", "2001:db8::1/64", "dev", "uplink", "nodad");
  const kernel = stack.use(openKernel({ namespace: host.path }));
  thread = stack.use(new PairThread({ namespace: host.path, log: silentLog }));
  await untilFree();
  given = 0;
  onGiven = () => {};
  const make = thread.make.bind(thread);
  thread.make = (batches) => {
    given++;
    onGiven();
    return make(batches);
  };
  node = stack.use(
    createNode(kernel, {
      nodeFacts: () => dualStackFacts,
      pairMakers: { thread: () => thread, isBeside: () => false },
    }),
  );
});
afterEach(async () => {
  await node.handlers.settled();
  stack.dispose();
});

const untilFree = (): Promise<void> =>
  vi.waitFor(
    () => {
      if (!thread.isFree) throw new Error("The thread has not started yet");
    },
    { timeout: 30_000 },
  );

const createSandbox = (): TestNamespace => stack.use(createNamespace());
const requestFor = (sandbox: TestNamespace, more = {}): AttachmentRequest =>
  aRequest({ containerId: sandbox.name, netns: sandbox.path, ...more });
const ping = (from: TestNamespace, address: string): string =>
  from.run("ping", "-c1", "-W2", address);

async function delAll(requests: readonly AttachmentRequest[]): Promise<void> {
  for (const request of requests) await node.handlers.del(request, forever);
  await node.handlers.settled();
  expect(node.leftovers()).toEqual([]);
}

test("pods of a burst are reached at every address, and go without a trace", async () => {
  const sandboxes = Array.from({ length: 8 }, createSandbox);
  const [first] = sandboxes;
  for (const scope of ["all", "default"]) {
    first?.run("sysctl", "-qw", `net.ipv6.conf.${scope}.disable_ipv6=1`);
  }
  const requests = sandboxes.map((sandbox) => requestFor(sandbox));
  const results = await Promise.all(requests.map((one) => node.handlers.add(one, forever)));
  expect(given).toBe(8);
  for (const [at, { ips }] of results.entries()) {
    for (const { address } of ips) expect(ping(host, address.address)).toContain("1 received");
    expect(await node.handlers.add(requests[at]!, forever)).toEqual(results[at]);
  }
  expect(given).toBe(8);
  await delAll(requests);
});

test("an interface that is in the way is told as ever, and nothing is left", async () => {
  const sandbox = createSandbox();
  sandbox.run("ip", "link", "add", "eth0", "type", "bridge");
  await expect(node.handlers.add(requestFor(sandbox), forever)).rejects.toMatchObject({
    code: CniCode.interfaceTaken,
  });
  expect(given).toBe(1);
  await delAll([]);
});

test("host ports stay with the turn in which they are free", async () => {
  const [one, other] = [createSandbox(), createSandbox()];
  const portMappings = [{ protocol: "tcp", hostPort: 8080, containerPort: 80 }] as const;
  const requests = [one, other].map((sandbox) => requestFor(sandbox, { conf: { portMappings } }));
  const outcomes = await Promise.allSettled(
    requests.map((request) => node.handlers.add(request, forever)),
  );
  expect(given).toBe(0);
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  expect(outcomes[1]).toMatchObject({ reason: { code: CniCode.hostPortTaken } });
  await delAll(requests);
});

test("an ADD whose thread ends under it fails, and nothing is left", async () => {
  onGiven = () => queueMicrotask(() => thread[Symbol.dispose]());
  const request = requestFor(createSandbox());
  await expect(node.handlers.add(request, forever)).rejects.toMatchObject({
    code: CniCode.internal,
  });
  expect(given).toBe(1);
  await delAll([]);
});
