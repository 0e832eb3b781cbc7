// The lab's runtime, over a list of plugins that keep what they are asked.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { memberOf } from "../../cli/lab/directory.ts";
import type { Member } from "../../cli/lab/member.ts";
import { outsidePath } from "../../cli/lab/node.ts";
import { addToNetwork, removeFromNetwork } from "../../cli/lab/runtime.ts";
import { paths } from "../../core/paths.ts";
import { type TestLab, testLab } from "../support/lab.ts";

const signal = new AbortController().signal;
const directory = "/run/plugins";
const cache = "/var/lib/cni/results";

let lab: TestLab;
let node: Member;
beforeAll(async () => {
  lab = await testLab();
  const up = lab.run("up", "--nodes", "1");
  if (up.status !== 0) throw new Error(`No lab: ${up.stderr}`);
  node = memberOf(lab.directory, "node-a");
  // It sorts before fairlead's own.
  writeInside(join(paths.cniConfDir, "05-kept.conflist"), JSON.stringify(list));
});
afterAll(() => void lab.run("down"));
beforeEach(() => {
  rmSync(outsidePath(node, directory), { recursive: true, force: true });
  rmSync(outsidePath(node, cache), { recursive: true, force: true });
});

const list = {
  cniVersion: "1.0.0",
  name: "kept",
  plugins: ["first", "second"].map((type) => ({ type })),
};
const attachment = { containerId: "c", netns: "/run/netns/none", ifName: "eth0", args: [] };
const resultOf = (type: string) => ({
  cniVersion: "1.0.0",
  ips: [{ address: "10.9.0.7/24" }],
  dns: { domain: type },
});

function writeInside(path: string, text: string, mode = 0o644): void {
  const file = outsidePath(node, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, text, { mode });
}

/** A plugin that keeps what it is asked; `rest` may fail. */
function writePlugin(type: string, rest = ""): void {
  const script = `#!/bin/sh
{ printf '%s %s ' "$CNI_COMMAND" ${type}; cat; echo; } >>${directory}/asked
${rest}
[ "$CNI_COMMAND" != ADD ] || echo '${JSON.stringify(resultOf(type))}'
`;
  writeInside(join(directory, type), script, 0o755);
}

interface Asked {
  readonly command: string;
  readonly type: string;
  readonly prevResult: { readonly dns: { readonly domain: string } } | undefined;
}

const asked = (): readonly Asked[] =>
  readFileSync(outsidePath(node, join(directory, "asked")), "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [, command = "", type = "", input = ""] = /^(\w+) (\w+) (.*)$/.exec(line)!;
      return { command, type, prevResult: JSON.parse(input).prevResult };
    });
const courses = (): readonly string[] =>
  asked().map(({ command, type, prevResult }) =>
    [command, type, ...(prevResult ? [`after ${prevResult.dns.domain}`] : [])].join(" "),
  );

const runtime = () => ({ node, pluginPath: ["/run/none", directory] });
const add = () => addToNetwork(runtime(), attachment, signal);
const remove = () => removeFromNetwork(runtime(), attachment, signal);
const cacheFile = () => outsidePath(node, join(cache, "kept-c-eth0"));

describe("the lab's runtime", () => {
  test("libcni-37, libcni-38: DEL goes backwards with ADD's result, a second one without", async () => {
    for (const type of ["first", "second"]) writePlugin(type);
    expect((await add()).result.dns.domain).toBe("second");
    expect(existsSync(cacheFile())).toBe(true);
    await remove();
    expect(existsSync(cacheFile())).toBe(false);
    await remove();
    expect(courses()).toEqual([
      "ADD first",
      "ADD second after first",
      "DEL second after second",
      "DEL first after second",
      "DEL second",
      "DEL first",
    ]);
  });

  test("libcni-32: the error of a second plugin is ADD's, nothing is kept and no DEL follows", async () => {
    writePlugin("first");
    writePlugin("second", `echo '{"code":123,"msg":"no"}'; exit 1`);
    await expect(add()).rejects.toMatchObject({ code: 123 });
    expect(existsSync(cacheFile())).toBe(false);
    expect(courses()).toEqual(["ADD first", "ADD second after first"]);
  });

  test("libcni-34: ADD fails when its result cannot be kept", async () => {
    for (const type of ["first", "second"]) writePlugin(type);
    writeInside(cache, "a file in the directory's place");
    await expect(add()).rejects.toMatchObject({ code: expect.stringMatching(/EEXIST|ENOTDIR/) });
  });

  test.each(["", "{", '{"kind":"cniCacheV1"}'])(
    "libcni-44: DEL does without a kept result that is %j",
    async (text) => {
      for (const type of ["first", "second"]) writePlugin(type);
      writeInside(join(cache, "kept-c-eth0"), text);
      await remove();
      expect(courses()).toEqual(["DEL second", "DEL first"]);
      expect(existsSync(cacheFile())).toBe(false);
    },
  );
});
