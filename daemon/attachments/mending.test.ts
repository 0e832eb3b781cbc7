import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../core/log.ts";
import { hostInterfaceName, isPodHostInterface } from "../../core/names.ts";
import { RepairLedger } from "../../core/repair-ledger.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { FakeKernel } from "../../kernel/fake.ts";
import {
  aRequest,
  createFakeMachine,
  createNode,
  facts,
  forever,
  type TestNode,
} from "../../test/attach/fixture.ts";
import { ifName } from "../../test/support/builders.ts";
import { Mending } from "./mending.ts";

const { key } = aRequest();
const device = hostInterfaceName(key);
const waiting = { timeout: 30_000, interval: 1 };
const rare = { pauseMs: 0, resyncMs: 3_600_000, backoffMs: 1, backoffMaxMs: 1 };

let kernel: FakeKernel;
let node: TestNode;
let stack: DisposableStack;
beforeEach(() => {
  stack = new DisposableStack();
  kernel = stack.adopt(createFakeMachine(), (made) => made[Symbol.dispose]());
  node = stack.use(createNode(kernel));
});
afterEach(() => stack.dispose());

function start(timing = rare) {
  const { handlers } = node;
  const ledger = new RepairLedger();
  const mending = stack.use(
    new Mending({ handlers, ledger, clock: systemClock, log: silentLog, timing }),
  );
  stack.use(
    kernel.watch((event) => mending.noticeElsewhere(event), {
      apart: { includes: isPodHostInterface, onChange: (event) => mending.notice(event) },
    }),
  );
  mending.start();
  return { ledger, mending };
}

const routes = () => kernel.routes({ device });

test("puts back at once what a notification names, counts it and says how long it took", async () => {
  const { ledger } = start();
  // The first look, at all, names nothing.
  await setImmediate();
  await node.handlers.add(aRequest(), forever);
  const [route] = routes();
  kernel.apply([{ kind: "remove-route", route: route! }]);
  await vi.waitFor(() => expect(routes()).toEqual([route]), waiting);
  await vi.waitFor(() => expect(ledger.counts.route).toBe(1), waiting);
  expect(ledger.entries()).toMatchObject([
    { kind: "route", found: "nothing", afterMs: expect.any(Number) },
  ]);
});

test("does nothing after an ADD or a DEL", async () => {
  const { ledger } = start();
  await node.handlers.add(aRequest(), forever);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await node.handlers.del(aRequest(), forever);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(Object.values(ledger.counts)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  expect(node.leftovers()).toEqual([]);
});

test.each(["unicast", "blackhole"] as const)("takes its place from a %s route", async (type) => {
  start();
  await node.handlers.add(aRequest(), forever);
  const [route] = routes();
  const taken = { ...route!, type, device: ifName(type === "unicast" ? "uplink" : "lo") };
  await new Promise((resolve) => setTimeout(resolve, 150));
  kernel.apply([{ kind: "replace-route", route: taken }]);
  await vi.waitFor(() => expect(routes()).toEqual([route]), { ...waiting, timeout: 5_000 });
  expect(kernel.routes({ device: taken.device })).not.toContainEqual(taken);
});

test("follows the node's address: away, and back", async () => {
  start();
  await node.handlers.add(aRequest(), forever);
  const [route] = routes();
  const [own] = facts.nodeAddresses;
  const address = { device: ifName("uplink"), address: own!, prefixLength: 24 };
  const { source: _, ...bare } = route!;
  kernel.apply([{ kind: "remove-address", address }]);
  await vi.waitFor(() => expect(routes()).toEqual([bare]), waiting);
  kernel.apply([{ kind: "add-address", address }]);
  await vi.waitFor(() => expect(routes()).toEqual([route]), waiting);
});

test("leaves what an ADD has just made, but not what is gone of it", async () => {
  await node.handlers.add(aRequest(), forever);
  const [route] = routes();
  const handlers = { mend: vi.fn(() => []), isNew: (name: string) => name === device };
  const ledger = new RepairLedger();
  const options = { handlers, ledger, clock: systemClock, log: silentLog };
  const mending = stack.use(new Mending({ ...options, timing: rare }));
  const none = new Set<never>();
  const event = { objects: none, lossy: none, overflow: false };
  const named = (kind: "route" | "route-gone", ...devices: string[]) => ({
    ...event,
    devices: new Set(devices),
    changes: [{ kind, item: route! }],
  });
  mending.start();
  await vi.waitFor(() => expect(handlers.mend.mock.calls).toEqual([[undefined]]), waiting);
  mending.notice(named("route", device));
  mending.notice(named("route", device, "fl00000000000a"));
  await vi.waitFor(
    () => expect(handlers.mend.mock.calls.slice(1)).toEqual([[["fl00000000000a"]]]),
    waiting,
  );
  mending.notice(named("route-gone"));
  await vi.waitFor(() => expect(handlers.mend.mock.calls.slice(2)).toEqual([[[device]]]), waiting);
});

test("looks at all now and then, after a loss, and when asked to", async () => {
  await node.handlers.add(aRequest(), forever);
  const handlers = { mend: vi.fn(() => []), isNew: () => false };
  const ledger = new RepairLedger();
  const options = { handlers, ledger, clock: systemClock, log: silentLog };
  const mending = stack.use(new Mending({ ...options, timing: rare }));
  const none = new Set<never>();
  const event = { objects: none, devices: new Set([device]), lossy: none, changes: [] };
  mending.notice({ ...event, overflow: false });
  mending.start();
  const looked = (arg: unknown) =>
    vi.waitFor(() => expect(handlers.mend.mock.calls.splice(0)).toEqual([[arg]]), waiting);
  await looked(undefined);
  mending.notice({ ...event, overflow: false });
  await looked([device]);
  mending.notice({ ...event, overflow: true });
  await looked(undefined);
  mending.notice({ ...event, changes: "many", overflow: false });
  await looked(undefined);
  mending.lookAtAll();
  await looked(undefined);
});
