import { expect, test } from "vitest";
import { cidr, ifName } from "../../test/support/builders.ts";
import { nodeA, nodeC } from "../../test/support/overlay.ts";
import { scene } from "../../test/support/reconciler.ts";

test("tells of routes that it removed: the kernel may have taken a pod's for one", async () => {
  const { source, programmed, kernel, elsewhere, tell, lacks } = scene();
  source.setNodes(nodeA, nodeC);
  await programmed();
  tell("nothing");
  const given = { device: ifName("eth0"), metric: 0, table: 254, type: "unicast" } as const;
  const item = {
    ...given,
    destination: cidr("10.244.1.2/32"),
    scope: "link",
    protocol: 76,
  } as const;
  kernel.apply([{ kind: "add-route", route: item }]);
  await lacks("10.244.1.2/32");
  expect(elsewhere.flatMap(({ changes }) => (changes === "many" ? [] : changes))).toContainEqual({
    kind: "route-gone",
    item,
  });
});
