import { expect, test } from "vitest";
import { ip } from "../../test/support/builders.ts";
import { nodeExample, podExample } from "../../test/support/source-objects.ts";
import { attachmentObject } from "./attachment-object.ts";
import { ObjectSet } from "./object-set.ts";

const node = nodeExample("node-a", 1);

test("an object set has the newest good version of each object", () => {
  const objects = new ObjectSet();
  objects.put("Node node-a", node.object);
  expect(objects.takeChange()).toBe(true);
  const first = objects.snapshot(1, true);
  expect(first.nodes.get("node-a")).toEqual(node.model);
  objects.put("Node node-a", { ...node.object, spec: { podCIDR: "x" } });
  expect(objects.takeChange()).toBe(false);
  expect(objects.problems).toEqual([
    'Cannot use spec.podCIDR "x" of Node node-a: expected a network such as 10.244.0.0/16, without host bits (its last good version is kept)',
  ]);
  expect(objects.snapshot(2, true).nodes).toBe(first.nodes);
  objects.put("Node node-a", nodeExample("node-a", 2).object);
  expect(objects.problems).toEqual([]);
  expect(objects.snapshot(3, true).nodes.get("node-a")?.addresses).toEqual([ip("192.0.2.2")]);
  expect(first.nodes.get("node-a")).toEqual(node.model);
  objects.remove("Node node-a");
  expect(objects.takeChange()).toBe(true);
  expect(objects.snapshot(4, true).nodes.size).toBe(0);
});

test("an object set does not take the same object again for a change", () => {
  const objects = new ObjectSet();
  objects.put("Node node-a", node.object);
  const { nodes } = objects.snapshot(1, true);
  objects.takeChange();
  objects.put("Node node-a", structuredClone(node.object));
  expect(objects.takeChange()).toBe(false);
  expect(objects.snapshot(2, true).nodes.get("node-a")).toBe(nodes.get("node-a"));
});

test("an object set keeps what a complete list has", () => {
  const objects = new ObjectSet();
  const pod = podExample("web-1", "10.244.1.2");
  objects.put("Node node-a", node.object);
  objects.put("Pod demo/web-1", pod.object);
  objects.put("Pod demo/broken", { apiVersion: "v1", kind: "Pod", metadata: {} });
  objects.retain(new Set(["Pod demo/web-1"]));
  const { nodes, pods } = objects.snapshot(1, true);
  expect([nodes.size, pods.size, objects.problems]).toEqual([0, 1, []]);
});

test.each([
  [undefined, "Cannot use Node node-a: expected a Kubernetes object as JSON"],
  [3, "Node node-a: Cannot use 3: expected a Kubernetes object"],
  [nodeExample("node-b", 1).object, "Cannot use Node node-a: it says that it is Node node-b"],
])("an object set names the object where it finds %o", (value, problem) => {
  const objects = new ObjectSet();
  objects.put("Node node-a", value);
  expect(objects.problems).toEqual([problem]);
  expect(objects.takeChange()).toBe(false);
});

test("an object set has other nodes' attachments", () => {
  const objects = new ObjectSet();
  const attachment = {
    id: "node-b-0123456789ab",
    nodeName: "node-b",
    network: "fairlead",
    addresses: [ip("10.244.2.2")],
    pod: { namespace: "shop", name: "db-0" },
    aliases: ["db"],
  };
  objects.put(`Attachment ${attachment.id}`, attachmentObject(attachment));
  expect(objects.problems).toEqual([]);
  expect(objects.snapshot(1, true).attachments).toEqual(new Map([[attachment.id, attachment]]));
  objects.remove(`Attachment ${attachment.id}`);
  expect(objects.snapshot(2, true)).not.toHaveProperty("attachments");
});

test("an object set takes null for absent, as Kubernetes' API gives it", () => {
  const objects = new ObjectSet();
  objects.put("Node node-a", { ...node.object, spec: null });
  expect(objects.snapshot(1, true).nodes.get("node-a")?.podCidrs).toEqual([]);
});
