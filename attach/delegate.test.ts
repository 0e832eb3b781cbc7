import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLog } from "../core/log.ts";
import { aConf, forever } from "../test/attach/fixture.ts";
import { callDelegate, findDelegate, withOwnResult } from "./delegate.ts";

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "fairlead-delegate-"))));
afterEach(() => rmSync(directory, { recursive: true }));

function writePlugin(name: string, script: string): void {
  const file = join(directory, name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

const call = (more: Partial<Parameters<typeof callDelegate>[0]> = {}, signal = forever) =>
  callDelegate(
    {
      command: "ADD",
      conf: aConf({
        ipam: { type: "test-ipam", ranges: [], routes: [], requestedIps: [] },
        raw: '{"whole":"request"}',
      }),
      environment: { CNI_PATH: directory, CNI_COMMAND: "DEL", CNI_IFNAME: "eth0" },
      log: silentLog,
      ...more,
    },
    signal,
  );

describe("callDelegate()", () => {
  test("gives the verb, the caller's environment and the whole of standard input", async () => {
    writePlugin("test-ipam", 'echo "$CNI_COMMAND $CNI_IFNAME $# ${HOME-no home}"; cat');
    expect(await call()).toBe('ADD eth0 0 no home\n{"whole":"request"}');
  });

  test("keeps the plugin's error (libcni-53)", async () => {
    writePlugin(
      "test-ipam",
      `cat >/dev/null; echo '{"code":11,"msg":"busy","details":"lock"}'; exit 1`,
    );
    await expect(call()).rejects.toMatchObject({ code: 11, message: "busy", details: "lock" });
  });

  test.each(["echo oops", "true"])(
    "names a plugin that fails without an error (libcni-55): %s",
    async (says) => {
      writePlugin("test-ipam", `${says}; exit 3`);
      await expect(call()).rejects.toMatchObject({
        code: 110,
        message: 'Cannot run IPAM plugin "test-ipam" for ADD',
        details: expect.stringContaining("exit code 3"),
      });
    },
  );

  test("passes on what the plugin says on standard error (libcni-56)", async () => {
    writePlugin("test-ipam", "echo careful >&2");
    const said: unknown[] = [];
    await call({ log: { ...silentLog, info: (fields) => void said.push(fields) } });
    expect(said).toEqual([{ plugin: "test-ipam", command: "ADD", stderr: "careful" }]);
  });

  test("ends a plugin whose output has no end", async () => {
    writePlugin("test-ipam", "cat /dev/zero");
    await expect(call()).rejects.toMatchObject({ code: 110 });
  });

  test("ends the plugin with the request (libcni-52)", async () => {
    writePlugin("test-ipam", "exec sleep 60");
    await expect(call({}, AbortSignal.timeout(50))).rejects.toThrow(/timeout/i);
  });
});

describe("findDelegate()", () => {
  test("takes the first directory that has it as a file, links followed (libcni-31)", () => {
    const [first, second] = [join(directory, "1"), join(directory, "2")];
    mkdirSync(join(first, "plugin"), { recursive: true });
    mkdirSync(second);
    writePlugin("real", "true");
    symlinkSync(join(directory, "real"), join(second, "plugin"));
    expect(findDelegate("plugin", `/none::${first}:${second}`)).toBe(join(second, "plugin"));
  });

  test.each(["", "../host-local", "/bin/sh", "a\0b"])("refuses the type %j (libcni-29)", (type) =>
    expect(() => findDelegate(type, "/bin")).toThrow("expected the file name of a plugin"),
  );
});

test("withOwnResult() replaces the result that the runtime kept, in whatever case", () => {
  const raw = JSON.stringify({ name: "net", PrevResult: { ips: ["ours"] }, prevresult: 1, mtu: 0 });
  expect(JSON.parse(withOwnResult(aConf({ raw }), '{"ips":["theirs"]}'))).toEqual({
    name: "net",
    mtu: 0,
    prevResult: { ips: ["theirs"] },
  });
});
