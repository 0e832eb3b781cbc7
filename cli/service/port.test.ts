import { expect, test } from "vitest";
import { parseServicePort } from "./port.ts";

test.each([
  ["80", { protocol: "TCP", port: 80 }],
  ["http=8080", { name: "http", protocol: "TCP", port: 8080 }],
  ["dns=53/udp", { name: "dns", protocol: "UDP", port: 53 }],
  ["132/SCTP", { protocol: "SCTP", port: 132 }],
])("parseServicePort() of %s", (text, port) => expect(parseServicePort(text)).toEqual(port));

test.each(["", "0", "65536", "http", "80/http", "=80", "Web=80", "80=http", "1.5"])(
  "parseServicePort() refuses %j, and says what it takes",
  (text) =>
    expect(() => parseServicePort(text)).toThrow(
      /^Cannot use the port ".*": expected (\[name=\]port|a name)/,
    ),
);
