import { join } from "node:path";
import { expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { silentLog } from "../core/log.ts";
import { systemClock } from "../kernel/clock.ts";
import { createFakeMachine, createNode } from "../test/attach/fixture.ts";
import { ip } from "../test/support/builders.ts";
import { requireFreePorts } from "./host-ports.ts";
import { type AttachmentRecord, openRecords } from "./records.ts";

const key = { network: "fairlead", containerId: "first", ifName: "eth0" };
const wiring = {
  addresses: [ip("10.244.1.7")],
  routes: [],
  nodeAddresses: [],
  mtu: 1450,
  hostIndex: 1,
  podIndex: 2,
  portMappings: [{ protocol: "tcp", hostPort: 8080, containerPort: 80 }] as const,
};
const record: AttachmentRecord = {
  key,
  sandbox: { path: "/run/netns/c1", device: 4, inode: 1 },
  ipam: { type: "fairlead-ipam" },
  createdAtMs: 1,
  wired: { wiring, dns: {} },
};

test("requireFreePorts() refuses a port that another attachment has, until another process has ended that one", () => {
  using kernel = createFakeMachine();
  using node = createNode(kernel);
  const place = join(node.directory, "attachments");
  const another = openRecords({ directory: place, clock: systemClock, log: silentLog });
  expect(another.list().records).toEqual([]);
  another.write(record);
  const ask = (containerId: string): void =>
    requireFreePorts(node.context, { ...key, containerId }, wiring);
  expect(() => ask("second")).toThrow(expect.objectContaining({ code: CniCode.hostPortTaken }));
  expect(() => ask("first")).not.toThrow();
  another.remove(key);
  expect(() => ask("second")).not.toThrow();
});
