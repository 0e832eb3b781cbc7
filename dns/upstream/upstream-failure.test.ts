import { expect, test } from "vitest";
import { ip } from "../../test/support/builders.ts";
import { failureOf } from "./upstream-failure.ts";

const upstream = { address: ip("192.0.2.1"), port: 853, tls: {} };

test("what the network says is said once: a log line has the causes behind it", () => {
  const refused = failureOf(upstream, new Error("connect ECONNREFUSED 192.0.2.1:853"));
  expect(refused.problem).toBe("connect ECONNREFUSED 192.0.2.1:853");
  expect(refused.cause).toBeUndefined();
});

test("what is put in other words keeps its cause", () => {
  const cause = Object.assign(new Error("certificate has expired"), { code: "CERT_HAS_EXPIRED" });
  const expired = failureOf(upstream, cause);
  expect(expired.problem).toContain("this node's clock is wrong");
  expect(expired.cause).toBe(cause);
});
