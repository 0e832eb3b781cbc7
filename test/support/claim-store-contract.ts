import { describe, expect, test } from "vitest";
import type { ClaimStore } from "../../ipam/claims/store.ts";

const signal = new AbortController().signal;

/** What every store of claims does: `open` gives another client of the same, empty store each time. */
export function describeClaimStore(
  name: string,
  newStore: () => { readonly open: () => ClaimStore },
): void {
  const revisionOf = (result: { kind: string; revision?: string }): string => {
    expect(result.kind).toBe("written");
    return result.revision ?? "";
  };
  const two = (): readonly [ClaimStore, ClaimStore] => {
    const { open } = newStore();
    return [open(), open()];
  };

  describe(`${name} as a store of claims`, () => {
    test("gives what was written, to every client", async () => {
      const [a, b] = two();
      expect(await a.get("nodes/x", signal)).toBeUndefined();
      expect(await a.list("", signal)).toEqual([]);
      const revision = revisionOf(await a.create("nodes/x", "one\ntwo", signal));
      expect(await b.get("nodes/x", signal)).toEqual({
        key: "nodes/x",
        value: "one\ntwo",
        revision,
      });
      const next = revisionOf(
        await b.replace({ key: "nodes/x", value: "three", revision }, signal),
      );
      expect(next).not.toBe(revision);
      expect(await a.get("nodes/x", signal)).toEqual({
        key: "nodes/x",
        value: "three",
        revision: next,
      });
    });

    test("creates only what is absent", async () => {
      const [a, b] = two();
      await a.create("k", "a", signal);
      expect(await b.create("k", "b", signal)).toEqual({ kind: "conflict" });
      expect((await b.get("k", signal))?.value).toBe("a");
    });

    test("replaces and removes only at the revision", async () => {
      const [a, b] = two();
      const first = revisionOf(await a.create("k", "1", signal));
      const second = revisionOf(await b.replace({ key: "k", value: "2", revision: first }, signal));
      const late = { key: "k", value: "3", revision: first };
      expect(await a.replace(late, signal)).toEqual({ kind: "conflict" });
      expect(await a.remove("k", first, signal)).toEqual({ kind: "conflict" });
      expect((await a.get("k", signal))?.value).toBe("2");
      expect((await a.remove("k", second, signal)).kind).toBe("written");
      expect(await b.get("k", signal)).toBeUndefined();
      expect(await b.remove("k", second, signal)).toEqual({ kind: "conflict" });
      expect(await b.replace({ key: "k", value: "4", revision: second }, signal)).toEqual({
        kind: "conflict",
      });
    });

    test("never uses a revision again, also for the same value", async () => {
      const [a] = two();
      const revisions = new Set<string>();
      for (let round = 0; round < 5; round++) {
        const revision = revisionOf(await a.create("k", "same", signal));
        revisions.add(revision);
        await a.remove("k", revision, signal);
      }
      expect(revisions.size).toBe(5);
    });

    test("lists by prefix, sorted", async () => {
      const [a, b] = two();
      const keys = [
        "blocks/fd00__-64",
        "blocks/10.1.0.0-24",
        "nodes/b.example",
        "nodes/a",
        "blocks",
      ];
      for (const key of keys) await a.create(key, `of ${key}`, signal);
      const listed = async (prefix: string) => (await b.list(prefix, signal)).map(({ key }) => key);
      expect(await listed("blocks/")).toEqual(["blocks/10.1.0.0-24", "blocks/fd00__-64"]);
      expect(await listed("nodes/")).toEqual(["nodes/a", "nodes/b.example"]);
      expect(await listed("")).toEqual(keys.toSorted());
      const [first] = await b.list("blocks/", signal);
      expect(first).toEqual(await a.get("blocks/10.1.0.0-24", signal));
    });

    test("lets one of many that create at once succeed, and one of many that replace", async () => {
      const { open } = newStore();
      const stores = Array.from({ length: 8 }, open);
      const created = await Promise.all(
        stores.map((store, i) => store.create("k", String(i), signal)),
      );
      const winners = created.filter(({ kind }) => kind === "written");
      expect(winners).toHaveLength(1);
      const revision = revisionOf(winners[0]!);
      const replaced = await Promise.all(
        stores.map((store, i) => store.replace({ key: "k", value: `r${i}`, revision }, signal)),
      );
      expect(replaced.filter(({ kind }) => kind === "written")).toHaveLength(1);
    });
  });
}
