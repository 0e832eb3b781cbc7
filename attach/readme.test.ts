import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfHeader, parseNetConf } from "../core/cni/config.ts";

const readme = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
const examples = [...readme.matchAll(/```json\n([^`]*)```/g)].map(([, text]) => text ?? "");

test("the README's examples are configurations", () => {
  const configurations = examples.map((text) =>
    parseNetConf(parseConfHeader(text), {
      command: "ADD",
      cniVersion: "1.0.0",
      args: new Map(),
    }),
  );
  expect(configurations.map(({ name, mtu, ipam }) => [name, mtu, ipam.type])).toEqual([
    ["fairlead", 1400, "fairlead-ipam"],
    ["storage", undefined, "host-local"],
  ]);
});
