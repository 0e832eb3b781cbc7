// Pairs that another thread makes while their addresses are reserved, as in a daemon that serves one request.
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { hostInterfaceName } from "../core/names.ts";
import type { Change } from "../core/network.ts";
import type { FakeKernel } from "../kernel/fake.ts";
import type { BegunChanges } from "../kernel/kernel.ts";
import {
  type TestNode,
  aRequest,
  alwaysBeside,
  createFakeMachine,
  createNode,
  forever,
} from "../test/attach/fixture.ts";
import { cidr, ip } from "../test/support/builders.ts";

let kernel: FakeKernel;
let node: TestNode;
let begun: (readonly Change[])[];
beforeEach(() => {
  kernel = createFakeMachine();
  begun = [];
  const begin = kernel.begin.bind(kernel);
  kernel.begin = (changes) => {
    begun.push(changes);
    return begin(changes);
  };
  node = createNode(kernel, { pairMakers: alwaysBeside });
});
const expectNothingOpen = (): void => expect(kernel.openSandboxes).toBe(0);
afterEach(() => node[Symbol.dispose]());
afterEach(expectNothingOpen);

const { key, conf } = aRequest();
const { ipam } = conf;
const ranges = [[{ subnet: cidr("10.7.0.0/24") }]];
const portMappings = [{ protocol: "tcp", hostPort: 8080, containerPort: 80 }] as const;
const device = hostInterfaceName(key);

/** A thread that gets no processor before the event loop has a turn. Gives whether the sandbox was open then. */
function beginLate(): () => boolean {
  let wasOpen = false;
  kernel.begin = (changes): BegunChanges => {
    const done = setImmediate().then(() => {
      wasOpen = kernel.openSandboxes === 1;
      kernel.apply(changes);
    });
    return { finish: () => done, [Symbol.asyncDispose]: () => done.catch(() => {}) };
  };
  return () => wasOpen;
}

describe("ADD", () => {
  test("gives the same as one that makes the pair with the rest", async () => {
    const result = await node.handlers.add(aRequest(), forever);
    expect(begun).toHaveLength(1);
    expect(kernel.link(device)?.isUp).toBe(true);
    await node.handlers.check({ ...aRequest(), conf: { ...conf, prevResult: result } }, forever);
    using alone = createNode(createFakeMachine());
    expect(await alone.handlers.add(aRequest(), forever)).toEqual(result);
  });

  test("makes the pair itself while another one's is under way", async () => {
    kernel.begin = () => undefined;
    await node.handlers.add(aRequest(), forever);
    expect(kernel.link(device)?.isUp).toBe(true);
  });

  test("undoes what is made after it has failed", async () => {
    const wasSandboxOpen = beginLate();
    const requestedIps = [ip("192.0.2.77")];
    const refused = aRequest({ conf: { ipam: { ...ipam, requestedIps } } });
    await expect(node.handlers.add(refused, forever)).rejects.toMatchObject({
      code: CniCode.invalidConfig,
    });
    expect(wasSandboxOpen()).toBe(true);
    expect(node.leftovers()).toEqual([]);
  });

  test("makes it anew where something of its own is in the way", async () => {
    using sandbox = kernel.openSandbox("/run/netns/c2");
    const [changes = []] = await begunBy(node);
    kernel.apply(
      changes.map((one) => (one.kind === "add-veth" ? { ...one, sandboxFd: sandbox.fd } : one)),
    );
    await node.handlers.add(aRequest(), forever);
    expect(kernel.link(device)?.isUp).toBe(true);
    expect(sandbox.links().map(({ name }) => name)).toEqual(["lo"]);
  });

  test.each([
    ["only a record tells of it", { ipam: { ...ipam, dataDir: "/elsewhere", ranges } }],
    ["ports are to be opened in the turn in which they are free", { portMappings }],
  ])("begins nothing where %s", async (_, conf) => {
    await node.handlers.add(aRequest({ conf }), forever);
    expect(begun).toEqual([]);
  });

  test("begins nothing while a record tells of an earlier one", async () => {
    await node.handlers.add(aRequest(), forever);
    await node.handlers.add(aRequest({ netns: "/run/netns/c2" }), forever);
    expect(begun).toHaveLength(1);
  });
});

/** What an ADD begins, of which nothing is left then. */
async function begunBy({ handlers }: TestNode): Promise<(readonly Change[])[]> {
  await handlers.add(aRequest(), forever);
  await handlers.del(aRequest(), forever);
  await handlers.settled();
  return begun.splice(0);
}
