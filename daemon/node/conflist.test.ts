import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfHeader, parseNetConf } from "../../core/cni/config.ts";
import type { CniVersion } from "../../core/cni/types.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { ensureConflist, formatConflist } from "./conflist.ts";

const text = formatConflist("fairlead");

test("formatConflist() is a configuration that our own plugin takes, in each version it offers", () => {
  const list = JSON.parse(text) as { cniVersions: CniVersion[]; name: string; plugins: object[] };
  for (const cniVersion of list.cniVersions) {
    const context = { command: "ADD", cniVersion, args: new Map<string, string>() } as const;
    const request = { cniVersion, name: list.name, ...list.plugins[0] };
    expect(parseNetConf(parseConfHeader(JSON.stringify(request)), context).name).toBe("fairlead");
  }
});

test.each([
  ["is missing", undefined, "written"],
  ["is right", text, "current"],
  ["was altered", text.replace("1.1.0", "0.4.0"), "written"],
  ["is empty, after a power failure", "", "written"],
  ["was cut short", text.slice(0, text.indexOf("plugins")), "written"],
  ["is an operator's", '{ "cniVersion": "1.0.0", "name": "mine", "plugins": [] }', "foreign"],
  ["is no JSON", "{", "broken"],
  ["lost its mark", text.replace("managedBy", "ownedBy"), "foreign"],
] as const)("ensureConflist() of a file that %s", (_, found, outcome) => {
  const path = join(temporaryDirectory(), "net.d", "10-fairlead.conflist");
  if (found !== undefined) {
    ensureConflist(path, text);
    writeFileSync(path, found);
  }
  expect(ensureConflist(path, text)).toBe(outcome);
  expect(readFileSync(path, "utf8")).toBe(
    outcome === "foreign" || outcome === "broken" ? found : text,
  );
});
