// What ADD and DEL leave to be closed after their answers.
import { expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { type Announcer, silentAnnouncer } from "./announcer.ts";
import { aRequest, createFakeMachine, createNode, forever } from "../test/attach/fixture.ts";

function createPatientNode() {
  const kernel = createFakeMachine();
  const left: Disposable[] = [];
  const announced: string[] = [];
  const announcer: Announcer = {
    ...silentAnnouncer,
    announce: ({ key }) => void announced.push(key.containerId),
  };
  const node = createNode(kernel, { announcer, putOff: (thing) => void left.push(thing) });
  const cleanUp = (): void => {
    for (const thing of left.splice(0)) thing[Symbol.dispose]();
  };
  return { kernel, node, left, announced, cleanUp };
}

test("the lock and the sandbox stay until they are disposed of", async () => {
  const { kernel, node, cleanUp } = createPatientNode();
  using _node = node;
  const request = aRequest();
  await node.handlers.add(request, forever);
  expect(kernel.openSandboxes).toBe(1);
  expect(node.records.tryLock(request.key)).toBeUndefined();
  cleanUp();
  expect(kernel.openSandboxes).toBe(0);
  await node.handlers.del(request, forever);
  expect(node.records.tryLock(request.key)).toBeUndefined();
  cleanUp();
  await node.handlers.settled();
  expect(node.leftovers()).toEqual([]);
});

test("others are told of a pod after the runtime is, and while nobody can end it", async () => {
  const { node, left, announced, cleanUp } = createPatientNode();
  using _node = node;
  const request = aRequest();
  await node.handlers.add(request, forever);
  expect(announced).toEqual([]);
  left.shift()?.[Symbol.dispose]();
  expect(announced).toEqual(["c1"]);
  expect(node.records.tryLock(request.key)).toBeUndefined();
  cleanUp();
});

test("nothing stays of what failed, or was there already", async () => {
  const { kernel, node, left, cleanUp } = createPatientNode();
  using _node = node;
  const request = aRequest({ netns: "/run/netns/none" });
  const failed = { code: CniCode.invalidEnvironment };
  await expect(node.handlers.add(request, forever)).rejects.toMatchObject(failed);
  await node.handlers.add(aRequest(), forever);
  cleanUp();
  await node.handlers.add(aRequest(), forever);
  expect([left.length, kernel.openSandboxes]).toEqual([0, 0]);
});
