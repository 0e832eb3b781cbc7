import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Snapshot } from "../../core/cluster/model.ts";
import { silentLog } from "../../core/log.ts";
import { openFileSource } from "./file-source.ts";
import type { Source } from "./source.ts";

const timing = { quietMs: 5, atMostMs: 50, everyMs: 60_000, missingMs: 10 };

const namespace = (...names: string[]): string =>
  names
    .map((name) => `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: ${name} }\n`)
    .join("");

interface Fixture {
  readonly directory: string;
  readonly source: Source;
  readonly write: (name: string, text: string) => void;
  /** Waits for a state in which these namespaces are there, and no others. */
  readonly has: (...names: string[]) => Promise<Snapshot>;
  readonly hasProblem: (part: string) => Promise<void>;
}

function open(
  files: Readonly<Record<string, string>> = {},
  isThere = true,
  paces = timing,
): Fixture {
  const parent = mkdtempSync(join(tmpdir(), "fairlead-source-"));
  const directory = join(parent, "cluster.d");
  const write = (name: string, text: string): void => writeFileSync(join(directory, name), text);
  if (isThere) mkdirSync(directory);
  for (const [name, text] of Object.entries(files)) write(name, text);
  const source = openFileSource({ directory, log: silentLog, timing: paces });
  onTestFinished(() => {
    source[Symbol.dispose]();
    rmSync(parent, { recursive: true });
  });
  const waiting = { timeout: 30_000, interval: 2 };
  return {
    directory,
    source,
    write,
    has: async (...names) => {
      await vi.waitFor(() => {
        expect(source.state().snapshot.revision).toBeGreaterThan(0);
        expect([...source.state().snapshot.namespaces.keys()].sort()).toEqual(names.sort());
      }, waiting);
      return source.state().snapshot;
    },
    hasProblem: (part) =>
      vi.waitFor(() => expect(source.state().problems.join("\n")).toContain(part), waiting),
  };
}

describe("a file source", () => {
  test("reads what is there, then each change", async () => {
    const { has, write, directory, source } = open({ "a.yaml": namespace("one") });
    const revisions: number[] = [];
    source.subscribe(({ snapshot }) => revisions.push(snapshot.revision));
    expect((await has("one")).isInSync).toBe(true);
    write("b.yaml", namespace("two"));
    await has("one", "two");
    write("a.yaml", namespace("three"));
    await has("two", "three");
    rmSync(join(directory, "b.yaml"));
    await has("three");
    expect(revisions).toEqual([1, 2, 3, 4]);
  });

  test("reads what is large in a process of its own, and what is small here", async () => {
    const children: unknown[] = [];
    const onSpawn = (message: unknown): void => void children.push(message);
    subscribe("child_process", onSpawn);
    onTestFinished(() => void unsubscribe("child_process", onSpawn));
    const many = Array.from({ length: 300 }, (_, i) => `n${i}`);
    const large = (...names: readonly string[]): string =>
      `# ${"x".repeat(70_000)}\n${namespace(...names)}`;
    const { has, hasProblem, write } = open({ "many.yaml": large(...many) });
    const first = await has(...many);
    expect(children).toHaveLength(1);
    write("one.yaml", namespace("one"));
    const second = await has(...many, "one");
    expect(second.namespaces.get("n7")).toBe(first.namespaces.get("n7"));
    expect(children).toHaveLength(1);
    write("many.yaml", `${large(...many, "more")}---\nkind: [`);
    await hasProblem("many.yaml:1207: Cannot parse YAML");
    await has(...many, "one");
    write("many.yaml", large(...many.slice(1)));
    await has(...many.slice(1), "one");
    expect(children).toHaveLength(3);
  });

  test("sees files come and go by any name, one by one", async () => {
    const { has, write, directory } = open({ "a.yaml": namespace("one") });
    await has("one");
    write(".b.yaml.new", namespace("two"));
    renameSync(join(directory, ".b.yaml.new"), join(directory, "b.yaml"));
    await has("one", "two");
    renameSync(join(directory, "b.yaml"), join(directory, "c.yml"));
    write("a.yaml", namespace("three"));
    await has("two", "three");
    mkdirSync(join(directory, "more"));
    write("more/d.yaml", namespace("four"));
    await has("two", "three", "four");
    rmSync(join(directory, "more"), { recursive: true });
    renameSync(join(directory, "c.yml"), join(directory, "c.yml~"));
    await has("three");
  });

  test("finds in time what it was not told of", async () => {
    const { has, write, directory } = open({ "a.yaml": namespace("one") }, true, {
      ...timing,
      everyMs: 20,
    });
    const elsewhere = mkdtempSync(join(tmpdir(), "fairlead-source-"));
    onTestFinished(() => rmSync(elsewhere, { recursive: true }));
    const target = join(elsewhere, "b.yaml");
    writeFileSync(target, namespace("two"));
    symlinkSync(target, join(directory, "b.yaml"));
    await has("one", "two");
    writeFileSync(target, namespace("three"));
    await has("one", "three");
    write("a.yaml", namespace("four"));
    await has("three", "four");
  });

  test("keeps the last good version of a file that breaks, and says so", async () => {
    const { has, hasProblem, write, source, directory } = open({ "a.yaml": namespace("one") });
    await has("one");
    write(
      "a.yaml",
      `${namespace("two")}---\napiVersion: v1\nkind: Namespace\nmetadata: { name: B }\n`,
    );
    await hasProblem(
      `${directory}/a.yaml:8: Cannot use metadata.name "B" of Namespace B: expected up to 63 lower-case letters, digits and - (its last good version is kept)`,
    );
    expect((await has("one")).isInSync).toBe(true);
    write("a.yaml", namespace("two"));
    await has("two");
    expect(source.state().problems).toEqual([]);
  });

  test("is not in sync before every file has once been good", async () => {
    const { has, hasProblem, write, source } = open({
      "a.yaml": namespace("one"),
      "b.yaml": "kind: [",
    });
    expect((await has("one")).isInSync).toBe(false);
    await hasProblem("b.yaml:1: Cannot parse YAML");
    await hasProblem("(nothing of this file is used)");
    write("b.yaml", namespace("two"));
    expect((await has("one", "two")).isInSync).toBe(true);
    write("b.yaml", "kind: [");
    await hasProblem("b.yaml:1: Cannot parse YAML");
    expect(source.state().snapshot.isInSync).toBe(true);
  });

  test("refuses a second file with the same object, naming both", async () => {
    const { has, hasProblem, write, directory } = open({ "b.yaml": namespace("one") });
    await has("one");
    write("a.yaml", namespace("two", "one"));
    await hasProblem(
      `${directory}/a.yaml:6: Cannot use Namespace one: it is also in ${directory}/b.yaml:2 (nothing of this file is used)`,
    );
    await has("one");
    rmSync(join(directory, "b.yaml"));
    await has("one", "two");
  });

  test("lets two files exchange their objects", async () => {
    const { has, write, directory, source } = open({
      "a.yaml": namespace("one"),
      "b.yaml": namespace("two"),
    });
    await has("one", "two");
    mkdirSync(join(directory, ".new"));
    write(".new/a.yaml", namespace("two"));
    write(".new/b.yaml", namespace("one", "three"));
    for (const name of ["a.yaml", "b.yaml"]) {
      renameSync(join(directory, ".new", name), join(directory, name));
    }
    await has("one", "two", "three");
    expect(source.state().problems).toEqual([]);
  });

  test("leaves out what editors and copying tools leave behind", async () => {
    const leftovers = [
      ".a.yaml.swp",
      "a.yaml~",
      ".#a.yaml",
      "#a.yaml#",
      "a.yaml.tmp",
      "a.tmp",
      ".a.yaml",
      "README.md",
    ];
    const { has, source } = open({
      ...Object.fromEntries(leftovers.map((name) => [name, namespace("wrong")])),
      "a.yml": namespace("yml"),
      "b.json": '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"json"}}',
    });
    expect((await has("yml", "json")).isInSync).toBe(true);
    expect(source.state().problems).toEqual([]);
  });

  test("follows the links of a ConfigMap volume", async () => {
    const { has, directory, write } = open();
    const publish = (version: string, text: string): void => {
      mkdirSync(join(directory, version));
      write(`${version}/a.yaml`, text);
      symlinkSync(version, join(directory, "..data_tmp"));
      renameSync(join(directory, "..data_tmp"), join(directory, "..data"));
    };
    publish("..v1", namespace("one"));
    symlinkSync("..data/a.yaml", join(directory, "a.yaml"));
    await has("one");
    publish("..v2", namespace("two"));
    await has("two");
  });

  test("follows a link to a directory, and what changes in there", async () => {
    const { has, directory } = open({ "a.yaml": namespace("one") });
    const elsewhere = mkdtempSync(join(tmpdir(), "fairlead-source-"));
    onTestFinished(() => rmSync(elsewhere, { recursive: true }));
    writeFileSync(join(elsewhere, "b.yaml"), namespace("two"));
    symlinkSync(elsewhere, join(directory, "more"));
    await has("one", "two");
    writeFileSync(join(elsewhere, "c.yaml"), namespace("three"));
    await has("one", "two", "three");
  });

  test("waits for a directory that is not there, and keeps all when it goes away", async () => {
    const { has, hasProblem, directory, write, source } = open({}, false);
    await hasProblem(`Cannot find the directory ${directory}`);
    expect(source.state().snapshot.isInSync).toBe(false);
    mkdirSync(directory);
    write("a.yaml", namespace("one"));
    expect((await has("one")).isInSync).toBe(true);
    rmSync(directory, { recursive: true });
    await hasProblem(`Cannot find the directory ${directory}`);
    await has("one");
    mkdirSync(directory);
    write("b.yaml", namespace("two"));
    await has("two");
  });

  test("keeps all when its directory is moved away, and files change in there", async () => {
    const { has, hasProblem, directory, source } = open({ "a.yaml": namespace("one") });
    await has("one");
    renameSync(directory, `${directory}.moved`);
    rmSync(join(`${directory}.moved`, "a.yaml"));
    await hasProblem(`Cannot find the directory ${directory}`);
    expect([...source.state().snapshot.namespaces.keys()]).toEqual(["one"]);
    renameSync(`${directory}.moved`, directory);
    await has();
  });

  test("reports a file it cannot read, and reads the others", async () => {
    const { has, hasProblem, directory } = open({ "a.yaml": namespace("one") });
    symlinkSync("nowhere", join(directory, "b.yaml"));
    await hasProblem("b.yaml:1: Cannot read it: ENOENT");
    await has("one");
  });
});
