// ADD and DEL cut short at every step: what fails is undone, what is killed is finished by whoever
// comes next. Every call to the kernel, to address management and to the records is a step, and each
// change of a batch one of its own.
import { describe, expect, test } from "vitest";
import type { AttachContext } from "../../attach/context.ts";
import { createHandlers } from "../../attach/handlers.ts";
import { LeaseSweep } from "../../attach/lease-sweep.ts";
import { KernelError, toError } from "../../core/error.ts";
import type { Change } from "../../core/network.ts";
import type { FakeKernel } from "../../kernel/fake.ts";
import { systemBootClock } from "../../kernel/boot-clock.ts";
import type { Kernel, NetworkNamespace, Sandbox } from "../../kernel/kernel.ts";
import {
  type TestNode,
  aNetworkRequest,
  aRequest,
  alwaysBeside,
  createFakeMachine,
  createNode,
  dualStackFacts,
  forever,
} from "./fixture.ts";
import { cidr } from "../support/builders.ts";

/** Called before each step, with its name; a throw takes the step's place. */
type Step = (name: string) => void;

function stepped<T extends object>(target: T, label: string, step: Step): T {
  return new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property);
      if (typeof value !== "function" || property === Symbol.dispose) return value;
      if (property === "begin") return beginInSteps(object as Kernel, step);
      if (property === "at") return () => stepped(target, label, step);
      return (...args: unknown[]): unknown => {
        if (property === "apply") return applyInSteps(object as NetworkNamespace, args, step);
        step(`${label}.${String(property)}`);
        const result: unknown = Reflect.apply(value, object, args);
        return property === "openSandbox" ? stepped(result as Sandbox, "sandbox", step) : result;
      };
    },
  });
}

// As the kernel has it: the rest of a batch is done, then the first failure is thrown.
function applyInSteps(namespace: NetworkNamespace, args: unknown[], step: Step): void {
  let first: Error | undefined;
  for (const change of args[0] as readonly Change[]) {
    try {
      step(change.kind);
      namespace.apply([change]);
    } catch (thrown) {
      first ??= toError(thrown);
    }
  }
  if (first !== undefined) throw first;
}

/** What another thread does fails when its answer is asked for; what dies does nothing any more. */
const beginInSteps = (kernel: Kernel, step: Step) => (changes: readonly Change[]) => {
  let failure: KernelError | undefined;
  const done = changes.filter(({ kind }) => {
    try {
      step(`begin ${kind}`);
      return true;
    } catch (thrown) {
      if (!(thrown instanceof KernelError)) throw thrown;
      failure = thrown;
      return false;
    }
  });
  const begun = kernel.begin(done);
  const finish = async (): Promise<void> => {
    step("finish what was begun");
    await begun?.finish();
    if (failure !== undefined) throw failure;
  };
  return { finish, [Symbol.asyncDispose]: async () => {} };
};

const steppedHandlers = (node: TestNode, step: Step) => {
  const { kernel, ipam, records } = node.context;
  const context: AttachContext = {
    ...node.context,
    kernel: stepped(kernel, "kernel", step),
    ipam: stepped(ipam, "ipam", step),
    records: stepped(records, "records", step),
  };
  return createHandlers(context);
};

/** Fails once, at the step of that number; counts. */
const failAt = (at: number): Step => {
  let count = 0;
  return () => {
    if (count++ === at) throw new KernelError("do this step", "EIO");
  };
};

/** The process dies before the step of that number: nothing that it wanted to do afterwards happens. */
const dieAt = (at: number): Step => {
  let count = 0;
  return () => {
    if (count++ >= at) throw new Error("killed");
  };
};

type NewNode = (kernel: FakeKernel) => TestNode;

async function stepsOf(
  newNode: NewNode,
  work: (node: TestNode, step: Step) => Promise<unknown>,
): Promise<string[]> {
  const names: string[] = [];
  using node = newNode(createFakeMachine());
  await work(node, (name) => void names.push(name));
  return names;
}

const newNode: NewNode = (kernel) => createNode(kernel, { nodeFacts: () => dualStackFacts });
/** As in a daemon that serves one request. */
const newDaemon: NewNode = (kernel) =>
  createNode(kernel, { nodeFacts: () => dualStackFacts, pairMakers: alwaysBeside });

const limit = { rate: 1_000_000, burst: 80_000 };
const request = aRequest({ conf: { bandwidth: { ingress: limit, egress: limit } } });
const add = (node: TestNode, step: Step) => steppedHandlers(node, step).add(request, forever);
const del = async (node: TestNode, step: Step): Promise<void> => {
  const handlers = steppedHandlers(node, step);
  await handlers.del(request, forever);
  await handlers.settled();
};
const addAndDel = async (node: TestNode, step: Step): Promise<void> => {
  await node.handlers.add(request, forever);
  await del(node, step);
};

const numbered = (names: readonly string[]) =>
  names.map((name, index): [number, string] => [index, name]);
const addSteps = await stepsOf(newNode, add);
const beginningSteps = await stepsOf(newDaemon, add);
const delSteps = await stepsOf(newNode, addAndDel);
/** Every step of an ADD, however it makes the pair. */
const everyStep = [
  ...numbered(addSteps).map(([at, name]) => ({ at, name, newNode })),
  ...numbered(beginningSteps).map(([at, name]) => ({
    at,
    name: `${name}, begun`,
    newNode: newDaemon,
  })),
];
function expectNothingLeft(kernel: FakeKernel, node: TestNode): void {
  expect(node.leftovers()).toEqual([]);
  using sandbox = kernel.openSandbox(request.netns);
  expect(sandbox.links().map(({ name }) => name)).toEqual(["lo"]);
  expect(kernel.openSandboxes).toBe(1);
}

test("the steps are those of two batches, one reservation and one record write", () => {
  expect(addSteps).toMatchInlineSnapshot(`
    [
      "kernel.openSandbox",
      "records.lock",
      "records.read",
      "ipam.reserve",
      "records.write",
      "add-veth",
      "set-link",
      "add-route",
      "add-route",
      "replace-neighbor",
      "replace-neighbor",
      "replace-shaping",
      "set-link",
      "set-link",
      "add-address",
      "add-address",
      "add-route",
      "add-route",
      "add-route",
      "replace-neighbor",
      "replace-neighbor",
      "replace-shaping",
      "sandbox.writeSysctl",
      "kernel.isRunning",
    ]
  `);
  expect(beginningSteps).toMatchInlineSnapshot(`
    [
      "kernel.openSandbox",
      "records.lock",
      "records.read",
      "begin add-veth",
      "ipam.reserve",
      "records.write",
      "finish what was begun",
      "set-link",
      "add-route",
      "add-route",
      "replace-neighbor",
      "replace-neighbor",
      "replace-shaping",
      "set-link",
      "set-link",
      "add-address",
      "add-address",
      "add-route",
      "add-route",
      "add-route",
      "replace-neighbor",
      "replace-neighbor",
      "replace-shaping",
      "sandbox.writeSysctl",
      "kernel.isRunning",
    ]
  `);
  expect(delSteps).toMatchInlineSnapshot(`
    [
      "records.lock",
      "records.read",
      "set-link",
      "kernel.reap",
      "ipam.release",
      "records.remove",
    ]
  `);
});

describe("a record comes before the addresses where no lease of the node's tells of a killed ADD", () => {
  const order = (names: readonly string[]) =>
    names.filter((name) => ["records.write", "ipam.reserve"].includes(name));

  test("leases elsewhere", async () => {
    using node = newNode(createFakeMachine());
    const ranges = [[{ subnet: cidr("10.7.0.0/24") }]];
    const ipam = { ...request.conf.ipam, dataDir: "/elsewhere", ranges };
    const names: string[] = [];
    const handlers = steppedHandlers(node, (name) => void names.push(name));
    await handlers.add({ ...request, conf: { ...request.conf, ipam } }, forever);
    expect(order(names)).toEqual(["records.write", "ipam.reserve", "records.write"]);
  });

  test("another record that is there still", async () => {
    using node = newNode(createFakeMachine());
    await node.handlers.add(request, forever);
    const names: string[] = [];
    const handlers = steppedHandlers(node, (name) => void names.push(name));
    await handlers.add({ ...request, netns: "/run/netns/c2" }, forever);
    expect(order(names)).toEqual(["records.write", "ipam.reserve", "records.write"]);
  });
});

test("the lease of an ADD that is killed before its record is freed by the sweep of leases", async () => {
  const kernel = createFakeMachine();
  using node = newNode(kernel);
  const at = addSteps.indexOf("records.write");
  await expect(add(node, dieAt(at))).rejects.toBeInstanceOf(Error);
  expect(node.records.list().records).toEqual([]);
  expect(await node.ipam.leases("fairlead")).toHaveLength(2);
  let elapsedMs = 1e12;
  const sweep = new LeaseSweep(node.context, {
    now: () => ({ bootId: systemBootClock.bootId, wallMs: Date.now(), elapsedMs }),
    liveNamespaces: async () => new Set(),
    graceMs: 1_000,
  });
  expect(await sweep.run(forever)).toEqual([]);
  elapsedMs += 1_000;
  const freed = await sweep.run(forever);
  expect(freed.map(({ why }) => why)).toEqual(["its sandbox is gone", "its sandbox is gone"]);
  expectNothingLeft(kernel, node);
});

/** A pod works without it: the ADD goes on. */
const comfort = "sandbox.writeSysctl";

describe("an ADD that fails leaves nothing", () => {
  test.each(everyStep.filter(({ name }) => !name.startsWith(comfort)))(
    "at step $at, $name",
    async ({ at, newNode }) => {
      const kernel = createFakeMachine();
      using node = newNode(kernel);
      await expect(add(node, failAt(at))).rejects.toBeInstanceOf(Error);
      expectNothingLeft(kernel, node);
    },
  );
});

test("an ADD goes on where an address cannot be made to outlive its interface's going down", async () => {
  using node = newNode(createFakeMachine());
  const { ips } = await add(node, failAt(addSteps.indexOf(comfort)));
  expect(ips).toHaveLength(2);
  expect(node.log.map(({ message }) => message)).toContain(
    "an IPv6 address ends when its interface is set down",
  );
});

describe("an ADD that is killed leaves nothing that DEL does not remove", () => {
  test.each(everyStep)("before step $at, $name", async ({ at, newNode }) => {
    const kernel = createFakeMachine();
    using node = newNode(kernel);
    await expect(add(node, dieAt(at))).rejects.toBeInstanceOf(Error);
    await node.handlers.del(request, forever);
    await node.handlers.del(request, forever);
    await node.handlers.settled();
    expectNothingLeft(kernel, node);
  });
});

describe("an ADD that is killed is done again by the next ADD", () => {
  test.each(everyStep)("before step $at, $name", async ({ at, newNode }) => {
    const kernel = createFakeMachine();
    using node = newNode(kernel);
    await expect(add(node, dieAt(at))).rejects.toBeInstanceOf(Error);
    const result = await node.handlers.add(request, forever);
    const checked = { ...request, conf: { ...request.conf, prevResult: result } };
    await node.handlers.check(checked, forever);
    expect(await node.ipam.leases("fairlead")).toHaveLength(2);
  });
});

describe("a DEL that is killed is finished by the next DEL", () => {
  test.each(numbered(delSteps))("before step %i, %s", async (at) => {
    const kernel = createFakeMachine();
    using node = newNode(kernel);
    await addAndDel(node, dieAt(at)).catch(() => {});
    await node.handlers.del(request, forever);
    await node.handlers.settled();
    expectNothingLeft(kernel, node);
  });
});

describe("what a killed request left goes with GC, or the daemon's sweep", () => {
  test.each(everyStep)("an ADD before step $at, $name", async ({ at, newNode }) => {
    const kernel = createFakeMachine();
    using node = newNode(kernel);
    await expect(add(node, dieAt(at))).rejects.toBeInstanceOf(Error);
    await node.handlers.gc(aNetworkRequest({ validAttachments: [] }), forever);
    await node.handlers.sweep(forever);
    expectNothingLeft(kernel, node);
  });

  test.each(numbered(delSteps))("a DEL before step %i, %s", async (at) => {
    const kernel = createFakeMachine();
    using node = newNode(kernel);
    await addAndDel(node, dieAt(at)).catch(() => {});
    await node.handlers.gc(aNetworkRequest({ validAttachments: [] }), forever);
    await node.handlers.sweep(forever);
    expectNothingLeft(kernel, node);
  });
});
