import { describe, expect, test } from "vitest";
import { aPod } from "../../test/dns/pods.ts";
import { ip } from "../../test/support/builders.ts";
import { parseName } from "../message/name.ts";
import { PodBook, type PodEntry } from "./pod-book.ts";
import { PodDirectory } from "./pod-directory.ts";

const cluster = parseName("cluster.local")!;
const web = aPod("web", "10.244.1.7");

/** A directory that follows the book, as the resolver's thread does. */
function following(): { book: PodBook; pods: PodDirectory } {
  const book = new PodBook();
  const pods = new PodDirectory(cluster);
  book.follow((update) => {
    pods.apply(structuredClone(update));
    return Promise.resolve();
  });
  return { book, pods };
}

const find = (pods: PodDirectory, name: string, asker = ""): readonly string[] | undefined =>
  pods.addressesAt(parseName(`${name}.cluster.local`)!, asker);

describe("a pod's life", () => {
  test("withheld while it is made, named while it works, withheld from its end on", async () => {
    const { book, pods } = following();
    book.withhold(web.addresses);
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(true);
    expect(find(pods, "web.fairlead")).toBeUndefined();
    await book.announce(web);
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(false);
    expect(find(pods, "web.fairlead")).toEqual(["10.244.1.7"]);
    await book.withdraw(web.id);
    expect(find(pods, "web.fairlead")).toBeUndefined();
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(true);
    await book.announce(aPod("other", "10.244.1.7"));
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(false);
  });

  test("an address that another attachment has by now stays named", async () => {
    const { book, pods } = following();
    await book.announce(web);
    await book.announce(aPod("next", "10.244.1.7"));
    await book.withdraw(web.id);
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(false);
    expect(pods.podAt("10.244.1.7")?.pod?.name).toBe("next");
    expect(find(pods, "next.fairlead")).toEqual(["10.244.1.7"]);
  });

  test("an address that is withheld already is told of once", async () => {
    const book = new PodBook();
    const told: (readonly string[])[] = [];
    book.follow((update) => {
      told.push(update.withheld);
      return Promise.resolve();
    });
    book.withhold([ip("10.244.1.7")]);
    book.withhold([ip("10.244.1.7")]);
    book.withhold([ip("10.244.1.7"), ip("10.244.1.8")]);
    expect(told).toEqual([["10.244.1.7"], ["10.244.1.8"]]);
    await book.announce(web);
    book.withhold([ip("10.244.1.7")]);
    expect(told.slice(2)).toEqual([[], ["10.244.1.7"]]);
  });

  test("an address given to somebody else's pod is no longer withheld", async () => {
    const { book, pods } = following();
    await book.announce(web);
    await book.withdraw(web.id);
    book.lift([ip("10.244.1.7"), ip("10.244.1.8")]);
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(false);
  });

  test("withheld addresses are bounded: the oldest is given up", async () => {
    const { book, pods } = following();
    const many = Array.from({ length: 4097 }, (_, i) => ip(`10.0.${i >> 8}.${i & 255}`));
    book.withhold(many.slice(0, 4096));
    book.withhold(many.slice(4096));
    expect(pods.isWithheld(many[0]!)).toBe(false);
    expect([many[1]!, many[4096]!].map((one) => pods.isWithheld(one))).toEqual([true, true]);
  });
});

describe("refresh()", () => {
  const ids = (...pods: readonly PodEntry[]): ReadonlySet<string> =>
    new Set(pods.map(({ id }) => id));

  test("knows what others made, and ends what others ended", async () => {
    const { book, pods } = following();
    await book.refresh([web], ids(web));
    expect(find(pods, "web.fairlead")).toEqual(["10.244.1.7"]);
    await book.refresh([], ids());
    expect(find(pods, "web.fairlead")).toBeUndefined();
    expect(pods.isWithheld(ip("10.244.1.7"))).toBe(true);
  });

  test("does not bring back what is being ended, until its record is gone", async () => {
    const { book, pods } = following();
    await book.announce(web);
    await book.withdraw(web.id);
    await book.refresh([web], ids(web));
    expect(find(pods, "web.fairlead")).toBeUndefined();
    await book.refresh([], ids());
    await book.refresh([web], ids(web));
    expect(find(pods, "web.fairlead")).toEqual(["10.244.1.7"]);
  });

  test("leaves alone what it is not told of but exists", async () => {
    const { book, pods } = following();
    await book.announce(web);
    await book.refresh([], ids(web));
    expect(find(pods, "web.fairlead")).toEqual(["10.244.1.7"]);
  });
});

test("other nodes' attachments come, change and go, and withhold nothing", async () => {
  const { book, pods } = following();
  const aliased = (...aliases: readonly string[]) => ({
    ...aPod("db", "10.244.2.7"),
    id: "0123456789ab.node-b",
    nodeName: "node-b",
    aliases,
  });
  const one = aliased("db-1");
  await book.announce(web);
  await book.knowOthers(new Map([[one.id, one]]));
  expect(find(pods, "db-1.fairlead")).toEqual(["10.244.2.7"]);
  expect(book.complete().set.map(({ id }) => id)).toEqual([web.id, one.id]);
  const two = aliased("db-2");
  await book.knowOthers(new Map([[two.id, two]]));
  expect(find(pods, "db-1.fairlead")).toBeUndefined();
  expect(find(pods, "db-2.fairlead")).toEqual(["10.244.2.7"]);
  await book.knowOthers(new Map());
  expect(find(pods, "db-2.fairlead")).toBeUndefined();
  expect(find(pods, "web.fairlead")).toEqual(["10.244.1.7"]);
  expect(pods.isWithheld(ip("10.244.2.7"))).toBe(false);
});

test("complete() is all of it, for a thread that starts anew", async () => {
  const { book } = following();
  await book.announce(web);
  book.withhold([ip("10.244.1.9")]);
  const anew = new PodDirectory(cluster);
  anew.apply({ ...book.complete(), isComplete: false, set: [aPod("old", "10.244.1.1")] });
  anew.apply(book.complete());
  expect(find(anew, "web.fairlead")).toEqual(["10.244.1.7"]);
  expect(find(anew, "old.fairlead")).toBeUndefined();
  expect(anew.isWithheld(ip("10.244.1.9"))).toBe(true);
});
