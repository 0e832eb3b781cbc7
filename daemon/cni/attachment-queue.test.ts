import { expect, test } from "vitest";
import { CniError } from "../../core/cni/error.ts";
import { emptyResult } from "../../core/cni/result.ts";
import type { AttachmentRequest, CniHandlers } from "../../core/cni/types.ts";
import { inTurnByAttachment } from "./attachment-queue.ts";

const never = new AbortController().signal;
const request = (containerId: string): AttachmentRequest => ({
  key: { network: "fairlead", containerId, ifName: "eth0" },
  netns: "/run/netns/x",
  args: new Map(),
  conf: {
    cniVersion: "1.1.0",
    name: "fairlead",
    type: "fairlead",
    ipam: { type: "fairlead-ipam", ranges: [], routes: [], requestedIps: [] },
    raw: "",
  },
  environment: {},
});

/** Handlers that note when they begin, and end when told to. */
function heldHandlers() {
  const begun: string[] = [];
  const held = new Map<string, PromiseWithResolvers<void>>();
  const hold = (verb: string) => async (request: AttachmentRequest | object) => {
    const name = "key" in request ? `${verb} ${request.key.containerId}` : verb;
    begun.push(name);
    held.set(name, Promise.withResolvers<void>());
    await held.get(name)!.promise;
  };
  const handlers: CniHandlers = {
    add: async (request) => {
      await hold("ADD")(request);
      return emptyResult;
    },
    del: hold("DEL"),
    check: hold("CHECK"),
    gc: hold("GC"),
    status: hold("STATUS"),
  };
  return { handlers: inTurnByAttachment(handlers), begun, held };
}

const settle = async () => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

test("inTurnByAttachment() runs requests for one attachment one by one, others meanwhile", async () => {
  const { handlers, begun, held } = heldHandlers();
  const add = handlers.add(request("a"), never);
  const del = handlers.del(request("a"), never);
  const other = handlers.add(request("b"), never);
  const gc = handlers.gc({ conf: request("a").conf, environment: {} }, never);
  await settle();
  expect(begun.sort()).toEqual(["ADD a", "ADD b", "GC"]);
  held.get("ADD a")!.resolve();
  await add;
  await settle();
  expect(begun).toContain("DEL a");
  for (const { resolve } of held.values()) resolve();
  await Promise.all([del, other, gc]);
});

test("inTurnByAttachment() goes on after a request that failed", async () => {
  const { handlers, held } = heldHandlers();
  const add = handlers.add(request("a"), never);
  const del = handlers.del(request("a"), never);
  await settle();
  held.get("ADD a")!.reject(new CniError(11, "Cannot do it"));
  await expect(add).rejects.toThrow("Cannot do it");
  await settle();
  held.get("DEL a")!.resolve();
  await del;
});

test("inTurnByAttachment() does not run a request that nobody waits for any more", async () => {
  const { handlers, begun, held } = heldHandlers();
  const add = handlers.add(request("a"), never);
  const gone = new AbortController();
  const check = handlers.check(request("a"), gone.signal);
  await settle();
  gone.abort(new Error("The launcher is gone"));
  held.get("ADD a")!.resolve();
  await add;
  await expect(check).rejects.toThrow("The launcher is gone");
  expect(begun).toEqual(["ADD a"]);
});
