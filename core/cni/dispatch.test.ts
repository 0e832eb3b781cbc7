import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Given,
  configuration,
  errorOf,
  runDispatch as run,
} from "../../test/support/cni-dispatch.ts";
import { KernelError } from "../error.ts";
import { CniCode, CniError } from "./error.ts";
import { cniVersions } from "./types.ts";

const absent = undefined;

describe("dispatch() runs the handler", () => {
  const accepted: readonly (readonly [id: string, given: Given])[] = [
    ["disp-01 ADD", {}],
    ["disp-12 ADD without CNI_ARGS", { env: { CNI_ARGS: absent } }],
    ["disp-15 CHECK without CNI_ARGS", { command: "CHECK", env: { CNI_ARGS: absent } }],
    ["disp-16 DEL without CNI_NETNS", { command: "DEL", env: { CNI_NETNS: absent } }],
    ["disp-18 DEL without CNI_PATH", { command: "DEL", env: { CNI_PATH: absent } }],
    ["disp-19 GC with CNI_PATH only", { command: "GC", env: onlyPath() }],
    ["disp-21 GC with CNI_CONTAINERID=../x", { command: "GC", env: { CNI_CONTAINERID: "../x" } }],
    ["disp-22 STATUS with CNI_PATH only", { command: "STATUS", env: onlyPath() }],
    ["disp-27 container id", { env: { CNI_CONTAINERID: "a51debf7e1eb" } }],
    ["disp-30 container id of one character", { env: { CNI_CONTAINERID: "a" } }],
    ["disp-31 container id of 300", { env: { CNI_CONTAINERID: "a".repeat(300) } }],
    ["disp-33 interface name of 15", { env: { CNI_IFNAME: "abcdefghijklmno" } }],
    ["disp-51 keys in another case", { stdin: '{"CNIVERSION":"1.1.0","Name":"x","IPAM":{}}' }],
    ["disp-57 no cniVersion", { stdin: '{"name":"x"}' }],
    ["disp-90 tracing variables", { env: { TRACEPARENT: "00-x-y-01", BAGGAGE: "a=b" } }],
    ["CHECK of 0.4.0", { command: "CHECK", stdin: configuration({ cniVersion: "0.4.0" }) }],
  ];
  test.each(accepted)("%s", async (_, given) => {
    const { reply, calls } = await run(given);
    expect(reply).toMatchObject({ exitStatus: 0, stderr: "" });
    expect(calls.map(({ verb }) => verb)).toEqual([given.command ?? "ADD"]);
    expect(reply.stdout === "").toBe((given.command ?? "ADD") !== "ADD");
  });

  function onlyPath() {
    return { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "", CNI_ARGS: "" };
  }

  test("with what the runtime said", async () => {
    const { request } = await run({ env: { CNI_ARGS: "K8S_POD_NAME=web-0;IgnoreUnknown=1" } });
    expect(request?.key).toEqual({
      network: "fairlead",
      containerId: "a51debf7e1eb",
      ifName: "eth0",
    });
    expect(request?.netns).toBe("/run/netns/x");
    expect(request?.netnsFile).toBeUndefined();
    expect(request?.args.get("K8S_POD_NAME")).toBe("web-0");
    expect(request?.conf.raw).toBe(configuration());
  });

  test.each(cniVersions)("and answers ADD in version %s (result-40)", async (cniVersion) => {
    const { reply } = await run({ stdin: configuration({ cniVersion }) });
    expect(JSON.parse(reply.stdout)).toMatchObject({ cniVersion });
    expect(reply.stdout.includes("ip4")).toBe(cniVersion < "0.3");
  });
});

describe("dispatch() refuses", () => {
  const notJson = "Cannot decode the configuration: not JSON";
  const notObject = "Cannot decode the configuration: expected a JSON object";
  const refused: readonly (readonly [id: string, given: Given, code: number, msg: string])[] = [
    ["disp-06 unknown verb, bad stdin", { command: "NOPE", stdin: "{" }, 6, notJson],
    ["disp-07 verb in lower case", { command: "add" }, 4, 'Invalid CNI_COMMAND "add"'],
    ["disp-09 ADD without CNI_NETNS", { env: { CNI_NETNS: "" } }, 4, "variables: CNI_NETNS"],
    ["disp-10 ADD without CNI_IFNAME", { env: { CNI_IFNAME: absent } }, 4, "variables: CNI_IFNAME"],
    [
      "disp-13 all that is missing",
      { env: { CNI_NETNS: "", CNI_IFNAME: absent, CNI_PATH: absent } },
      4,
      "Missing environment variables: CNI_NETNS, CNI_IFNAME, CNI_PATH",
    ],
    ...["-a", ".a", "_a", "a/b", "a b", "é"].map(
      (id) =>
        [
          `disp-28 CNI_CONTAINERID=${id}`,
          { env: { CNI_CONTAINERID: id } },
          4,
          "Invalid CNI_CONTAINERID",
        ] as const,
    ),
    ...[
      ["disp-34", "é".repeat(8)],
      ["disp-36", ".."],
      ["disp-36", "."],
      ["disp-37", "test/test"],
      ["disp-39", "test test"],
      ["disp-40", "a\tb"],
      ["disp-40", "a\u0085b"],
      ["a colon", "a:b"],
      ["a pattern", "e%d"],
    ].map(
      ([id, name]) =>
        [
          `${id} CNI_IFNAME=${JSON.stringify(name)}`,
          { env: { CNI_IFNAME: name } },
          4,
          "Invalid CNI_IFNAME",
        ] as const,
    ),
    [
      "disp-42 an invalid value before the missing ones",
      { env: { CNI_IFNAME: "..", CNI_NETNS: "" } },
      4,
      'Invalid CNI_IFNAME "..": expected 1 to 15 octets',
    ],
    ["disp-43 stdin fails", { stdin: () => Promise.reject(new Error("EIO")) }, 5, "Cannot read"],
    ["disp-45 {", { stdin: "{" }, 6, notJson],
    ["no stdin at all", { stdin: "" }, 6, notJson],
    ["disp-46 []", { stdin: "[]" }, 6, notObject],
    ["null", { stdin: "null" }, 6, notObject],
    ["disp-48 garbage at the end", { stdin: `${configuration()}garbage` }, 6, notJson],
    ["disp-49 comments", { stdin: `// x\n${configuration()}` }, 6, notJson],
    ["a byte order mark", { stdin: `\uFEFF${configuration()}` }, 6, notJson],
    ["disp-54 name te%%st", { stdin: '{"name":"te%%st"}' }, 7, 'Invalid name "te%%st"'],
    ["disp-55 name 1234%%%", { stdin: '{"name":"1234%%%"}' }, 7, "Invalid name"],
    ["hl-conf-48 name a/b", { stdin: '{"name":"a/b"}' }, 7, "Invalid name"],
    ["hl-conf-48 name ..", { stdin: '{"name":".."}' }, 7, "Invalid name"],
    ["no name", { stdin: "{}" }, 7, 'expected the key "name"'],
    ["a name that is a number", { stdin: '{"name":5}' }, 6, "Cannot decode name 5"],
    ["disp-60 cniVersion 5", { stdin: configuration({ cniVersion: 5 }) }, 6, "cniVersion 5"],
    ["disp-61 cniVersion 1.0", { stdin: configuration({ cniVersion: "1.0" }) }, 1, "Incompatible"],
    ...["CHECK", "GC", "STATUS"].map(
      (command) =>
        [
          `disp-63 ${command} of cniVersion adsfsadf`,
          { command, stdin: configuration({ cniVersion: "adsfsadf" }) },
          6,
          'Cannot decode cniVersion "adsfsadf"',
        ] as const,
    ),
    [
      "cniVersion adsfsadf",
      { stdin: configuration({ cniVersion: "adsfsadf" }) },
      1,
      "Incompatible",
    ],
    ["disp-64 cniVersion 9.9.9", { stdin: configuration({ cniVersion: "9.9.9" }) }, 1, "Incomp"],
    ["disp-67 CHECK of 0.5.0", checkOf("0.5.0"), 1, "Incompatible"],
    ["CHECK of 0.3.1", checkOf("0.3.1"), 1, 'Invalid cniVersion "0.3.1" for CHECK'],
    ["CHECK without cniVersion", checkOf(""), 1, 'Invalid cniVersion "0.1.0" for CHECK'],
    [
      "disp-69 GC of 1.0.0",
      { command: "GC", stdin: configuration({ cniVersion: "1.0.0" }) },
      1,
      "expected 1.1.0 or newer",
    ],
    [
      "a known key with a wrong value",
      { stdin: configuration({ mtu: "big" }) },
      7,
      'Invalid mtu "big": expected a whole number from 1280 to 65535',
    ],
    ["args-07", { env: { CNI_ARGS: "IgnoreUnknown=invalid" } }, 4, 'IgnoreUnknown "invalid"'],
  ];
  test.each(refused)("%s", async (_, given, code, message) => {
    const { reply, calls } = await run(given);
    expect(calls).toEqual([]);
    const error = errorOf(reply);
    expect(error.code).toBe(code);
    expect(error.msg).toContain(message);
  });

  function checkOf(cniVersion: string): Given {
    return { command: "CHECK", stdin: configuration({ cniVersion }) };
  }

  test("an unknown version, naming it and those it knows (disp-58)", async () => {
    const { reply } = await run({ stdin: configuration({ cniVersion: "4.3.2" }) });
    expect(errorOf(reply).details).toBe(
      `The configuration has "4.3.2", the plugin supports ${JSON.stringify(cniVersions)}`,
    );
  });

  test.each([
    ["0.4.0", configuration({ cniVersion: "0.4.0", mtu: 1 })],
    ["0.1.0", '{"name":"x","mtu":1}'],
    ["1.1.0", "{"],
    ["1.1.0", configuration({ cniVersion: "9.9.9" })],
  ])("with an error object of version %s (disp-75)", async (cniVersion, stdin) => {
    const { reply } = await run({ stdin });
    expect(errorOf(reply)).toMatchObject({ cniVersion });
  });
});

describe("dispatch() without a verb", () => {
  test.each([[absent], [""]])("(%j) prints what it is (disp-03, disp-04)", async (command) => {
    const { reply, calls } = await run({ env: { CNI_COMMAND: command } });
    expect(calls).toEqual([]);
    expect(reply).toMatchObject({ exitStatus: 0, stdout: "" });
    // The way Nomad reads it: the first token between blanks that is a semantic version.
    const version = reply.stderr.split(/\s+/).find((token) => /^\d+\.\d+\.\d+/.test(token));
    expect(version).toBe("0.1.0");
    expect(reply.stderr.startsWith("fairlead 0.1.0\n")).toBe(true);
    expect(reply.stderr).toContain("0.4.0, 1.0.0, 1.1.0");
  });
});

describe("dispatch() answers VERSION", () => {
  const stdins: readonly (readonly [string, Given["stdin"] & {}, string])[] = [
    ["echoing the version (disp-76)", '{"cniVersion":"1.0.0"}', "1.0.0"],
    ["echoing it under any case", '{"CniVersion":"0.4.0"}', "0.4.0"],
    ["with the newest for one it does not know", '{"cniVersion":"9.9.9"}', "1.1.0"],
    ["with the newest for no input", "", "1.1.0"],
    ["with the newest for no object", "[]", "1.1.0"],
    ["when stdin fails (disp-24)", () => Promise.reject(new Error("EIO")), "1.1.0"],
  ];
  // What old runtimes send: words in place of a sandbox, an interface and a path.
  test.each(stdins)(
    "%s, whatever the environment says besides (disp-25)",
    async (_, stdin, cniVersion) => {
      const { reply } = await run({
        command: "VERSION",
        stdin,
        env: { CNI_NETNS: "dummy", CNI_IFNAME: "dummy", CNI_PATH: "dummy", CNI_CONTAINERID: "" },
      });
      expect(reply).toMatchObject({ exitStatus: 0, stderr: "" });
      expect(JSON.parse(reply.stdout)).toEqual({ cniVersion, supportedVersions: cniVersions });
      expect(reply.stdout).not.toContain("\n");
    },
  );
});

describe("dispatch() reports a handler's failure", () => {
  const failing = (error: unknown, command = "ADD", signal?: AbortSignal) => {
    const fail = async () => {
      throw error;
    };
    const replaced = { add: fail, del: fail, check: fail, gc: fail, status: fail };
    return run({ command, replaced, ...(signal === undefined ? {} : { signal }) });
  };

  test("with the code it has (disp-73)", async () => {
    const { reply } = await failing(new CniError(1234, "Cannot do it", { details: "because" }));
    expect(errorOf(reply)).toEqual({
      cniVersion: "1.1.0",
      code: 1234,
      msg: "Cannot do it",
      details: "because",
    });
  });

  test("with its causes as details", async () => {
    const cause = new KernelError("add the link", "EEXIST");
    const { reply } = await failing(new CniError(CniCode.interfaceTaken, "Taken", { cause }));
    expect(errorOf(reply)).toMatchObject({ code: 101, details: "Cannot add the link: EEXIST" });
  });

  test("as internal when it has no code", async () => {
    const { reply } = await failing(new Error("outer", { cause: new TypeError("inner") }));
    expect(errorOf(reply)).toMatchObject({ code: CniCode.internal, details: "outer: inner" });
  });

  test.each([
    ["ADD", CniCode.tryAgainLater],
    ["STATUS", CniCode.notAvailable],
  ])("of %s as %i when it ran out of time", async (command, code) => {
    const { reply } = await failing(new Error("aborted"), command, AbortSignal.abort());
    expect(errorOf(reply)).toMatchObject({ code, msg: `Cannot finish ${command} in time` });
  });

  test("with a code of its own keeps it when time has run out besides", async () => {
    const error = new CniError(CniCode.invalidConfig, "Invalid mtu");
    const { reply } = await failing(error, "ADD", AbortSignal.abort());
    expect(errorOf(reply)).toMatchObject({ code: CniCode.invalidConfig, msg: "Invalid mtu" });
  });

  test("of DEL without the words that containerd takes for success", async () => {
    const error = new Error("link not found", { cause: new Error("no such file or directory") });
    const { reply } = await failing(error, "DEL");
    expect(errorOf(reply).details).toBe("link missing: ENOENT");
  });
});

describe("dispatch() of DEL and GC", () => {
  const broken = configuration({
    mtu: "big",
    dns: 5,
    ipam: { type: "fairlead-ipam", dataDir: "/var/x", ranges: [[{ subnet: "x" }]] },
    prevResult: { ips: "none" },
  });

  test.each(["DEL", "GC"])(
    "%s works with a configuration that is otherwise broken",
    async (verb) => {
      const { reply, request } = await run({
        command: verb,
        stdin: broken,
        env: { CNI_ARGS: "IP=nowhere;IgnoreUnknown=maybe" },
      });
      expect(reply.exitStatus).toBe(0);
      expect(request?.conf).toMatchObject({ name: "fairlead", ipam: { dataDir: "/var/x" } });
      expect(request?.conf).not.toHaveProperty("mtu");
      expect(request?.conf).not.toHaveProperty("prevResult");
    },
  );

  test("DEL works with an ipam that is no object", async () => {
    const { request } = await run({ command: "DEL", stdin: configuration({ ipam: 5 }) });
    expect(request?.conf.ipam.type).toBe("fairlead-ipam");
  });

  const one = [{ containerID: "a", ifname: "eth0" }];
  const two = [{ containerID: "b", ifname: "net1" }];
  const [keyA, keyB] = [
    { containerId: "a", ifName: "eth0" },
    { containerId: "b", ifName: "net1" },
  ];
  test.each([
    ["absent", {}, undefined],
    ["null", { "cni.dev/valid-attachments": null }, []],
    ["empty", { "cni.dev/valid-attachments": [] }, []],
    ["given", { "cni.dev/valid-attachments": one }, [keyA]],
    ["under the old key", { "cni.dev/attachments": one }, [keyA]],
    ["under both", { "cni.dev/valid-attachments": one, "cni.dev/attachments": two }, [keyA, keyB]],
    [
      "null under one key",
      { "cni.dev/valid-attachments": null, "cni.dev/attachments": two },
      [keyB],
    ],
  ])("GC has a list of attachments that is %s", async (_, keys, expected) => {
    const { request } = await run({ command: "GC", stdin: configuration(keys) });
    expect(request?.conf.validAttachments).toEqual(expected);
  });

  test.each([
    [{ "cni.dev/valid-attachments": "none" }, "expected a list"],
    [{ "cni.dev/valid-attachments": [{ ifname: "eth0" }] }, 'expected the key "containerID"'],
    [{ "cni.dev/valid-attachments": [null] }, "expected an object"],
  ])("GC refuses %j: a mistake must not free everything", async (keys, message) => {
    const { reply, calls } = await run({ command: "GC", stdin: configuration(keys) });
    expect(calls).toEqual([]);
    expect(errorOf(reply)).toMatchObject({ code: 7, msg: expect.stringContaining(message) });
  });
});

test("dispatch() ends in a reply of the specification on any input", async () => {
  const words = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "add", "", "NOPE"];
  const text = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constantFrom("eth0", "a"));
  const anyStdin = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .record(
        {
          name: fc.oneof(fc.constant("n"), fc.jsonValue()),
          cniVersion: fc.oneof(fc.constantFrom(...cniVersions), fc.jsonValue()),
          mtu: fc.jsonValue(),
          ipam: fc.jsonValue(),
          dns: fc.jsonValue(),
          args: fc.jsonValue(),
          runtimeConfig: fc.jsonValue(),
          prevResult: fc.jsonValue(),
          "cni.dev/valid-attachments": fc.jsonValue(),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...words),
      fc.record({ CNI_CONTAINERID: text, CNI_NETNS: text, CNI_IFNAME: text, CNI_ARGS: text }),
      anyStdin,
      async (command, env, stdin) => {
        const { reply, calls } = await run({ command, env, stdin });
        if (reply.exitStatus === 0) {
          expect(calls.length === 1 || command === "" || command === "VERSION").toBe(true);
          if (reply.stdout !== "") expect(JSON.parse(reply.stdout)).toHaveProperty("cniVersion");
        } else {
          const { code, msg } = errorOf(reply);
          expect([1, 4, 6, 7]).toContain(code);
          expect(msg).not.toBe("");
          expect(calls).toEqual([]);
        }
      },
    ),
    { numRuns: 500 },
  );
});
