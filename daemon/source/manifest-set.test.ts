import fc from "fast-check";
import { expect, test } from "vitest";
import { parseManifest } from "./manifest.ts";
import { ManifestSet } from "./manifest-set.ts";

const node = (name: string, n: number): string =>
  `---\napiVersion: v1\nkind: Node\nmetadata: { name: ${name} }\nspec: { podCIDR: 10.244.${n}.0/24 }\n`;

const anyText = fc.oneof(
  { weight: 1, arbitrary: fc.constant("kind: [") },
  {
    weight: 6,
    arbitrary: fc
      .uniqueArray(fc.record({ name: fc.constantFrom("a", "b", "c", "d"), n: fc.nat(2) }), {
        selector: ({ name }) => name,
        maxLength: 3,
      })
      .map((nodes) => nodes.map(({ name, n }) => node(name, n)).join("")),
  },
);
const anyStep = fc.array(
  fc.record({
    path: fc.constantFrom("/1.yaml", "/2.yaml", "/3.yaml"),
    text: fc.option(anyText, { nil: undefined }),
  }),
  { minLength: 1, maxLength: 3 },
);

// A broken file has everything settled anew, whatever was touched: that is the judge.
test("what was touched is settled as if everything was", () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 8 }), (steps) => {
      const [quick, whole] = [new ManifestSet(), new ManifestSet()];
      const broken = parseManifest("kind: [");
      const texts = new Map<string, string>();
      for (const [revision, step] of steps.entries()) {
        whole.set("/broken.yaml", broken);
        for (const { path, text } of step) {
          if (text === undefined) texts.delete(path);
          else texts.set(path, text);
          for (const set of [quick, whole]) {
            if (text === undefined) set.remove(path);
            else set.set(path, parseManifest(text));
          }
        }
        const { problems } = quick.settle();
        const expected = whole.settle().problems.filter((one) => !one.startsWith("/broken.yaml"));
        expect(problems).toEqual(expected);
        const { nodes } = quick.snapshot(revision, true);
        expect(nodes).toEqual(whole.snapshot(revision, true).nodes);
        // Where nothing is wrong, all is used and nothing else.
        const all = [...texts.values()].map(parseManifest).flatMap((one) => {
          return one.kind === "valid" ? one.objects : [];
        });
        const wanted = all.map(
          ({ key, value }) => [key.replace("Node ", ""), value.object] as const,
        );
        if (problems.length === 0) expect(nodes).toEqual(new Map(wanted));
      }
    }),
    { numRuns: 300 },
  );
});

test("an object that did not change is the same one, and a snapshot that was given out stays", () => {
  const set = new ManifestSet();
  set.set("/1.yaml", parseManifest(node("a", 1) + node("b", 2)));
  set.set("/2.yaml", parseManifest("apiVersion: v1\nkind: Namespace\nmetadata: { name: n }\n"));
  set.settle();
  const first = set.snapshot(1, true);
  set.set("/1.yaml", parseManifest(node("a", 1) + node("b", 3)));
  expect(set.settle()).toEqual({ problems: [], hasChanged: true });
  const second = set.snapshot(2, true);
  expect(second.nodes.get("a")).toBe(first.nodes.get("a"));
  expect(second.namespaces).toBe(first.namespaces);
  expect(first.nodes.get("b")?.podCidrs).toEqual(["10.244.2.0/24"]);
  expect(second.nodes.get("b")?.podCidrs).toEqual(["10.244.3.0/24"]);
});
