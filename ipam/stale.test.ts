import { describe, expect, test } from "vitest";
import { ip } from "../test/support/builders.ts";
import type { LeaseDetails } from "./journal-event.ts";
import { staleReason } from "./stale.ts";

const hour = 3_600_000;
const now = { bootId: "now", elapsedMs: hour, wallMs: 100 * hour };
const given = { bootId: "now", elapsedMs: hour / 2, wallMs: 99.5 * hour };
const before = { bootId: "before", elapsedMs: 5 * hour, wallMs: 50 * hour };
const sandbox = { device: 4, inode: 7, path: "/var/run/netns/a" };
const question = { now, live: new Set([8, 9]), graceMs: 300_000 };
const lease = (more?: Partial<LeaseDetails>) => ({
  address: ip("10.1.2.3"),
  containerId: "a",
  ifName: "eth0",
  ...(more && {
    details: {
      owner: { containerId: "a", ifName: "eth0" },
      stamp: { inode: 1, modifiedMs: 1 },
      given,
      ...more,
    },
  }),
});

describe("staleReason()", () => {
  test.each([
    ["of another program", lease(), undefined],
    ["of an earlier boot", lease({ given: before }), "of an earlier boot"],
    [
      "of an earlier boot, even if its sandbox's number is another's now",
      lease({ given: before, sandbox: { ...sandbox, inode: 8 } }),
      "of an earlier boot",
    ],
    [
      "of another boot id, given since this boot",
      lease({ given: { ...given, bootId: "nspawn" } }),
      undefined,
    ],
    [
      "of such, with a sandbox that is gone",
      lease({ given: { ...given, bootId: "nspawn" }, sandbox }),
      "its sandbox is gone",
    ],
    ["whose sandbox nobody named", lease({}), undefined],
    ["whose sandbox lives", lease({ sandbox: { ...sandbox, inode: 9 } }), undefined],
    ["whose sandbox is gone", lease({ sandbox }), "its sandbox is gone"],
    [
      "in the making",
      lease({ sandbox, given: { ...given, elapsedMs: hour - 299_999 } }),
      undefined,
    ],
  ])("of a lease %s", (_name, one, expected) => {
    expect(staleReason(one, question)).toBe(expected);
  });

  test("is nothing where not all processes are seen", () => {
    expect(staleReason(lease({ sandbox }), { ...question, live: undefined })).toBeUndefined();
  });
});
