import { afterEach, beforeEach, expect, test } from "vitest";
import { hostInterfaceName, routeProtocol } from "../core/names.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import {
  aRequest,
  createFakeMachine,
  createNode,
  forever,
  type TestNode,
} from "../test/attach/fixture.ts";

let kernel: FakeKernel;
let node: TestNode;
beforeEach(() => {
  kernel = createFakeMachine();
  node = createNode(kernel);
});
afterEach(() => node[Symbol.dispose]());

const { key } = aRequest();
const device = hostInterfaceName(key);
const state = () => ({
  link: kernel.link(device),
  routes: kernel.routes({ protocol: routeProtocol }),
  neighbors: kernel.neighbors(device),
});
const removeRoutes = (): void =>
  kernel.apply(state().routes.map((route) => ({ kind: "remove-route", route }) as const));

test("puts the routes of a pod back", async () => {
  await node.handlers.add(aRequest(), forever);
  const before = state();
  expect(before.routes).toHaveLength(1);
  removeRoutes();
  expect(node.handlers.mend().map(({ kind }) => kind)).toContain("add-route");
  expect(state()).toEqual(before);
});

test("sets an interface up again, with its routes and neighbors", async () => {
  await node.handlers.add(aRequest(), forever);
  const before = state();
  kernel.apply([{ kind: "set-link", device, settings: { isUp: false } }]);
  expect(state().routes).toEqual([]);
  node.handlers.mend();
  expect(state()).toEqual(before);
});

test("finds nothing to do where all is whole, and where nothing is attached", async () => {
  expect(node.handlers.mend()).toEqual([]);
  await node.handlers.add(aRequest(), forever);
  expect(node.handlers.mend()).toEqual([]);
});

test("leaves an attachment that a request is at work on", async () => {
  await node.handlers.add(aRequest(), forever);
  removeRoutes();
  using _lock = await node.records.lock(key, forever);
  expect(node.handlers.mend()).toEqual([]);
});

test("leaves an interface that is gone, or another's by now", async () => {
  await node.handlers.add(aRequest(), forever);
  removeRoutes();
  const record = node.records.read(key);
  const { wired } = record ?? {};
  node.records.write({
    ...record!,
    wired: { ...wired!, wiring: { ...wired!.wiring, hostIndex: 7 } },
  });
  expect(node.handlers.mend()).toEqual([]);
  kernel.apply([{ kind: "remove-link", device }]);
  expect(node.handlers.mend()).toEqual([]);
});
