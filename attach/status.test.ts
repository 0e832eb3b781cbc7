import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CniCode } from "../core/cni/error.ts";
import { formatNodeFacts } from "../core/node-facts.ts";
import {
  aNetworkRequest,
  aRequest,
  createFakeMachine,
  createNode,
  facts,
  forever,
} from "../test/attach/fixture.ts";
import { cidr, ifName, mac } from "../test/support/builders.ts";
import { readNodeFacts } from "../kernel/node-facts.ts";

let directory: string;
const path = (name: string): string => join(directory, name);
const read = () => readNodeFacts({ nodeFacts: path("node.json"), bootId: path("boot_id") });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "fairlead-facts-"));
  writeFileSync(path("boot_id"), "boot\n");
  writeFileSync(path("node.json"), formatNodeFacts(facts));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("status()", () => {
  test("is content with a node that is known and has addresses", async () => {
    using node = createNode(createFakeMachine(), { nodeFacts: read });
    await node.handlers.status(aNetworkRequest(), forever);
  });

  test.each([
    ["nothing is known of the node", () => rmSync(path("node.json")), "it does not exist"],
    ["the file is torn", () => writeFileSync(path("node.json"), "{"), "not JSON"],
    [
      "the facts are of an earlier boot",
      () => writeFileSync(path("boot_id"), "another\n"),
      "it is of an earlier boot",
    ],
  ])("is not available while %s; nor is ADD", async (_case, spoil, reason) => {
    spoil();
    using node = createNode(createFakeMachine(), { nodeFacts: read });
    await expect(node.handlers.status(aNetworkRequest(), forever)).rejects.toMatchObject({
      code: CniCode.notAvailable,
      message: expect.stringContaining(reason),
    });
    await expect(node.handlers.add(aRequest(), forever)).rejects.toMatchObject({
      code: CniCode.tryAgainLater,
      message: expect.stringContaining("the fairlead daemon"),
    });
    await node.handlers.del(aRequest(), forever);
    expect(node.leftovers()).toEqual([]);
  });

  test("is not available for a network that cannot be served", async () => {
    using node = createNode(createFakeMachine());
    await expect(
      node.handlers.status(aNetworkRequest({ name: "other" }), forever),
    ).rejects.toMatchObject({
      code: CniCode.notAvailable,
      message: expect.stringContaining('Invalid name "other"'),
    });
  });

  test("is limited while the overlay's device is gone", async () => {
    const kernel = createFakeMachine();
    const overlay = { ...facts, overlayDevice: "fl-vxlan" };
    using node = createNode(kernel, { nodeFacts: () => overlay });
    await expect(node.handlers.status(aNetworkRequest(), forever)).rejects.toMatchObject({
      code: CniCode.limitedConnectivity,
      message: expect.stringContaining('"fl-vxlan" is gone'),
    });
    kernel.addDevice({ name: ifName("fl-vxlan"), mac: mac("02:00:00:00:00:02") });
    await node.handlers.status(aNetworkRequest(), forever);
  });

  test("is not available when a range is full", async () => {
    const small = { ...facts, podCidrs: [cidr("10.244.1.0/30")] };
    using node = createNode(createFakeMachine(), { nodeFacts: () => small });
    await node.handlers.add(aRequest(), forever);
    await expect(node.handlers.status(aNetworkRequest(), forever)).rejects.toMatchObject({
      code: CniCode.notAvailable,
      message: expect.stringMatching(
        /^Cannot serve ADD: no address is left: all 1 of .*10\.244\.1/,
      ),
    });
    await expect(node.handlers.add(aRequest({ containerId: "c2" }), forever)).rejects.toMatchObject(
      { code: CniCode.addressesExhausted },
    );
  });
});
