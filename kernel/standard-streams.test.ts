import { spawnSync } from "node:child_process";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { CniCode } from "../core/cni/error.ts";
import { limits } from "../core/cni/launcher-protocol.ts";
import { readRequestText } from "./standard-streams.ts";

const forever = new AbortController().signal;

describe("standardErrorLog()", () => {
  test("says why: an error with its causes", () => {
    const module = new URL("standard-streams.ts", import.meta.url).href;
    const script = `
      const { standardErrorLog } = await import(${JSON.stringify(module)});
      const err = new Error("outer", { cause: new Error("inner") });
      standardErrorLog("fairlead").error({ err, containerId: "c1" }, "cannot undo");
    `;
    const { stderr } = spawnSync(process.execPath, ["-e", `(async () => {${script}})()`], {
      encoding: "utf8",
    });
    expect(stderr).toBe('fairlead: error: cannot undo {"err":"outer: inner","containerId":"c1"}\n');
  });
});

describe("readRequestText()", () => {
  test("puts chunks together that cut a character", async () => {
    const [head, tail] = [Buffer.from("né").subarray(0, 2), Buffer.from("né").subarray(2)];
    expect(await readRequestText(Readable.from([head, tail]), forever)).toBe("né");
  });

  test("refuses more than a request may have", async () => {
    const stream = Readable.from([Buffer.alloc(limits.stdin), Buffer.alloc(1)]);
    await expect(readRequestText(stream, forever)).rejects.toMatchObject({
      code: CniCode.ioFailure,
    });
    expect(stream.destroyed).toBe(true);
  });

  test("ends when the signal does", async () => {
    const stream = new Readable({ read: () => {} });
    await expect(readRequestText(stream, AbortSignal.timeout(5))).rejects.toThrow(
      "Standard input did not end in time",
    );
  });
});
