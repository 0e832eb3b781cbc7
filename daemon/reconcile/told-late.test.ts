import { expect, test, vi } from "vitest";
import { vxlanDevice } from "../../core/names.ts";
import { nodeA, nodeC } from "../../test/support/overlay.ts";
import { calm, scene, waiting } from "../../test/support/reconciler.ts";

test("puts back once what is told to be gone when everything is compared", async () => {
  const { source, programmed, kernel, reconciler, rests, tell, late } = scene("", calm);
  source.setNodes(nodeA, nodeC);
  await programmed();
  await rests();
  const [entry] = kernel.fdb(vxlanDevice);
  const event = { objects: new Set(["neighbor"] as const), overflow: false };
  tell("nothing");
  kernel.apply([{ kind: "remove-link", device: vxlanDevice }]);
  late.push({
    ...event,
    devices: new Set(),
    lossy: new Set(),
    changes: [{ kind: "fdb-gone", item: entry! }],
  });
  tell({
    ...event,
    devices: new Set([vxlanDevice]),
    lossy: new Set([vxlanDevice]),
    changes: [],
  });
  await vi.waitFor(() => expect(kernel.fdb(vxlanDevice)).toEqual([entry]), waiting);
  await rests();
  expect(late).toEqual([]);
  expect(reconciler.counters.repairs.fdb).toBe(1);
});
