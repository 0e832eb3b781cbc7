import { afterEach, expect, test, vi } from "vitest";
import type { AttachmentRecord } from "../../attach/records.ts";
import type { CniHandlers } from "../../core/cni/types.ts";
import { silentLog } from "../../core/log.ts";
import { attachmentHash } from "../../core/names.ts";
import { PodBook, type PodsUpdate } from "../../dns/cluster/pod-book.ts";
import { aRequest } from "../../test/attach/fixture.ts";
import { interfaceCidr, ip } from "../../test/support/builders.ts";
import { announcerTo, knowAttachments, liftingGiven, podEntryOf } from "./pod-names.ts";

const { key } = aRequest();
const aRecord = (createdAtMs: number, options: readonly string[] = ["ndots:5"]) => ({
  key,
  sandbox: { path: "/run/netns/c1", device: 1, inode: 1 },
  pod: { namespace: "shop", name: "cart-0" },
  ipam: { type: "fairlead-ipam" },
  createdAtMs,
  wired: {
    wiring: {
      addresses: [ip("10.244.1.7")],
      routes: [],
      nodeAddresses: [],
      mtu: 1450,
      hostIndex: 1,
      podIndex: 2,
    },
    dns: { nameservers: ["10.96.0.10"], search: ["shop.svc.cluster.local"], options },
  },
});

test("podEntryOf() has the search list that the pod was given, with resolv.conf's default of ndots", () => {
  expect(podEntryOf(aRecord(0))).toEqual({
    id: attachmentHash(key),
    network: "fairlead",
    addresses: ["10.244.1.7"],
    pod: { namespace: "shop", name: "cart-0" },
    aliases: [],
    search: { domains: ["shop.svc.cluster.local"], ndots: 5 },
  });
  expect(podEntryOf(aRecord(0, ["timeout:1", "ndots:x"])).search?.ndots).toBe(1);
  const record = aRecord(0);
  const bare = { ...record, wired: { ...record.wired, dns: {} } };
  expect(podEntryOf(bare)).not.toHaveProperty("search");
});

function followed(): { book: PodBook; updates: PodsUpdate[] } {
  const updates: PodsUpdate[] = [];
  const book = new PodBook();
  book.follow((update) => {
    updates.push(update);
    return Promise.resolve();
  });
  return { book, updates };
}

afterEach(() => {
  vi.useRealTimers();
});

test("knowAttachments() takes over what is there, but for what is being made at this moment", async () => {
  vi.useFakeTimers();
  const { book, updates } = followed();
  let nowMs = 100_000;
  let records: AttachmentRecord[] = [aRecord(99_990)];
  book.withhold([ip("10.244.1.7")]);
  const options = { records: { list: () => ({ records, unreadable: [] }) }, log: silentLog };
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
  using _known = knowAttachments({ book, clock, ...options });
  expect(updates.flatMap(({ set }) => set)).toEqual([]);
  nowMs += 10_000;
  vi.advanceTimersByTime(5000);
  expect(updates.flatMap(({ set }) => set)).toEqual([]);
  nowMs += 10_001;
  vi.advanceTimersByTime(5000);
  expect(updates.flatMap(({ set }) => set).map(({ id }) => id)).toEqual([attachmentHash(key)]);
  records = [];
  vi.advanceTimersByTime(5000);
  expect(updates.at(-1)).toMatchObject({
    removed: [attachmentHash(key)],
    withheld: ["10.244.1.7"],
  });
});

test("knowAttachments() comes back to what was being made, and to what was withdrawn, when no record is another", async () => {
  vi.useFakeTimers();
  const { book, updates } = followed();
  let nowMs = 100_000;
  const list = { records: [aRecord(99_990)], unreadable: [] };
  book.withhold([ip("10.244.1.7")]);
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
  using _known = knowAttachments({ book, clock, records: { list: () => list }, log: silentLog });
  nowMs += 20_001;
  vi.advanceTimersByTime(5000);
  expect(updates.flatMap(({ set }) => set).map(({ id }) => id)).toEqual([attachmentHash(key)]);
  await book.withdraw("of nobody");
  expect(book.hasWithdrawn).toBe(true);
  vi.advanceTimersByTime(5000);
  expect(book.hasWithdrawn).toBe(false);
});

test("an address that another main plugin's pod gets is named again", async () => {
  const { book, updates } = followed();
  const announcer = announcerTo(book);
  announcer.announce(aRecord(0));
  await announcer.withdraw(key);
  const handlers: Pick<CniHandlers, "add"> = {
    add: () =>
      Promise.resolve({
        interfaces: [],
        ips: [{ address: interfaceCidr("10.244.1.7/24") }],
        routes: [],
        dns: {},
      }),
  };
  const lifting = liftingGiven({ ...unused, ...handlers }, book);
  await lifting.add(aRequest(), new AbortController().signal);
  expect(updates.at(-1)?.lifted).toEqual(["10.244.1.7"]);
});

const fail = (): Promise<never> => Promise.reject(new Error("not called"));
const unused: CniHandlers = { add: fail, del: fail, check: fail, gc: fail, status: fail };
