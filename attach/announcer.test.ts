// In which order others are told of a pod, and the pod is made and taken apart.
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostInterfaceName } from "../core/names.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import { aRequest, createFakeMachine, createNode, type TestNode } from "../test/attach/fixture.ts";
import type { Announcer } from "./announcer.ts";

const signal = new AbortController().signal;
const request = aRequest();
let kernel: FakeKernel;
let node: TestNode;
let told: string[];

beforeEach(() => {
  kernel = createFakeMachine();
  told = [];
  const tell = (what: string): Promise<void> => {
    const isThere = kernel.link(hostInterfaceName(request.key)) !== undefined;
    told.push(`${what}, ${isThere ? "with" : "without"} its interface`);
    return Promise.resolve();
  };
  const announcer: Announcer = {
    withhold: (addresses) => void tell(`withhold ${addresses.join(" ")}`),
    announce: ({ wired }) => void tell(`announce ${wired.wiring.addresses.join(" ")}`),
    withdraw: () => tell("withdraw"),
  };
  node = createNode(kernel, { announcer });
});
afterEach(() => node[Symbol.dispose]());

test("withheld before its interface is made, announced behind it, withdrawn before it goes", async () => {
  await node.handlers.add(request, signal);
  expect(told).toEqual([
    "withhold 10.244.1.2, without its interface",
    "announce 10.244.1.2, with its interface",
  ]);
  await node.handlers.add(request, signal);
  expect(told.slice(2)).toEqual(["announce 10.244.1.2, with its interface"]);
  await node.handlers.del(request, signal);
  expect(told.slice(3)).toEqual(["withdraw, with its interface"]);
});
