import { expect, test } from "vitest";
import { parseEndpoints } from "./endpoints.ts";

test("parseEndpoints() of several named ports and addresses", () => {
  expect(parseEndpoints(["http=80", "dns=53/udp"], ["10.244.0.7", "fd00::7"])).toEqual({
    ports: [
      { name: "http", protocol: "TCP", port: 80 },
      { name: "dns", protocol: "UDP", port: 53 },
    ],
    addresses: ["10.244.0.7", "fd00::7"],
  });
});

test.each([
  "127.0.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "169.254.1.1",
  "255.255.255.255",
  "::",
  "::1",
  "fe80::1",
  "ff02::1",
])("parseEndpoints() refuses the address %s", (address) =>
  expect(() => parseEndpoints(["80"], ["10.244.0.7", address])).toThrow(
    new RegExp(`^Cannot use the address "${address}": it is .*; expected one at which other nodes`),
  ),
);

test.each([
  [[], ["10.244.0.7"], "without a port: give --port"],
  [["80"], [], "without an endpoint: give --address"],
  [["80"], ["localhost"], '"localhost": expected an IPv4 or IPv6 address'],
  [["80", "a=81"], ["10.244.0.7"], "several ports without names"],
  [["a=80", "a=81"], ["10.244.0.7"], 'two ports named "a": give each a name of its own'],
  [["abcdefghijklmnop=80"], ["10.244.0.7"], '"abcdefghijklmnop=80": expected a name of up to 15'],
])("parseEndpoints() refuses %j at %j", (ports, addresses, message) =>
  expect(() => parseEndpoints(ports, addresses)).toThrow(message),
);
