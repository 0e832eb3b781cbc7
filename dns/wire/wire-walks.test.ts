// What the packet thread gives again of search walks, beside what the responder says.
import { describe, expect, test } from "vitest";
import { clusterParts } from "../../test/dns/fixture.ts";
import { queryMessage } from "../../test/dns/wire-client.ts";
import {
  askWire,
  choosy,
  choosyList,
  choosyPod,
  client,
  latePod,
  networkPod,
  searching,
  searchingPod,
  type Twins,
  twins,
} from "../../test/dns/wire-twins.ts";
import { ip } from "../../test/support/builders.ts";
import type { PodEntry } from "../cluster/pod-book.ts";
import { encodeMessage } from "../message/encode.ts";

describe("gives the end of a walk again", () => {
  const neighbor: PodEntry = {
    ...searchingPod,
    id: "n/eth0",
    addresses: [ip("10.244.1.10")],
    aliases: ["n"],
  };
  const world = (): Twins => {
    const pair = twins();
    pair.show(clusterParts);
    pair.showPods({ set: [searchingPod, neighbor, choosyPod, networkPod] });
    return pair;
  };
  const asked = (front: string): Uint8Array =>
    encodeMessage(queryMessage(`${front}.prod.svc.cluster.local`, "A"));
  // The first time of an outside name waits for an upstream, and what has to be waited for is not kept.
  const know = async ({ respond }: Twins, query: Uint8Array): Promise<void> => {
    for (let i = 0; i < 2; i++) await respond(query, searching);
  };

  test.each(["www.example.com", "web.dev", "no.example.com"])(
    "for %s, in the asker's spelling, to all with that list and to nobody else",
    async (front) => {
      const pair = world();
      await know(pair, asked(front));
      for (const query of [asked(front), asked(front.toUpperCase())]) {
        for (const from of [searching.address, "10.244.1.10"]) {
          const wanted = await pair.reference(query, { address: from, transport: "udp" });
          expect(askWire(pair, query, from)).toEqual(Buffer.from(wanted!));
        }
        expect(askWire(pair, query, choosy.address)).toBeUndefined();
        const plain = await pair.reference(query, client);
        expect(askWire(pair, query) ?? plain).toEqual(Buffer.from(plain!));
      }
    },
  );

  test.each([
    ["past a name that is missing below a service", "x.web.prod"],
    ["that ends at an alias to elsewhere", "ext.prod"],
  ])("but not of one %s", async (_what, front) => {
    const pair = world();
    await know(pair, asked(front));
    expect(askWire(pair, asked(front), searching.address)).toBeUndefined();
  });

  test("until one of the steps to it must be asked again", async () => {
    const pair = world();
    const query = asked("www.example.com");
    const isKnown = (): boolean => askWire(pair, query, choosy.address) !== undefined;
    for (let i = 0; i < 3; i++) await pair.respond(query, choosy);
    expect(isKnown()).toBe(true);
    // What was found lives for 100 s, "no such name" below no.example, on the way there, for 50 s.
    pair.clock.nowMs += 44_000;
    expect(isKnown()).toBe(true);
    pair.clock.nowMs += 2_000;
    expect(isKnown()).toBe(false);
  });

  test("until a pod has another list, or none", async () => {
    const pair = world();
    const query = asked("web.dev");
    await know(pair, query);
    const other = { ...searchingPod, search: choosyList };
    pair.showPods({ set: [other] });
    expect(askWire(pair, query, searching.address)).toBeUndefined();
    expect(askWire(pair, query, "10.244.1.10")).toBeDefined();
    pair.showPods({ removed: [neighbor.id] });
    const plain = Buffer.from((await pair.reference(query, client))!);
    await pair.respond(query, client);
    expect(askWire(pair, query, "10.244.1.10")).toEqual(plain);
  });

  const { services } = clusterParts;
  const webOfDev = services.find(({ name, namespace }) => name === "web" && namespace === "dev")!;
  const isOther = ({ namespace }: { namespace: string }): boolean => namespace !== "dev";
  test.each<[string, string, (pair: Twins) => void]>([
    [
      "a service comes",
      "late.dev",
      ({ show }) =>
        show({ ...clusterParts, services: [...services, { ...webOfDev, name: "late" }] }),
    ],
    [
      "what was found goes",
      "web.dev",
      ({ show }) => show({ ...clusterParts, services: services.filter(isOther) }),
    ],
    [
      "what was found changes",
      "web.dev",
      ({ show }) => {
        const changed = { ...webOfDev, clusterIps: [ip("10.96.7.7")] };
        show({ ...clusterParts, services: [...services.filter(isOther), changed] });
      },
    ],
    [
      "a namespace comes",
      "dev2",
      ({ show }) =>
        show({ ...clusterParts, namespaces: [...clusterParts.namespaces, { name: "dev2" }] }),
    ],
    ["a network has the name", "late", ({ showPods }) => showPods({ set: [latePod] })],
    ["its time is nearly over", "www.example.com", ({ clock }) => (clock.nowMs += 95_000)],
    ["it is missing for too long", "no.example.com", ({ clock }) => (clock.nowMs += 48_000)],
  ])("until %s", async (_what, front, happen) => {
    const pair = world();
    const query = asked(front);
    await know(pair, query);
    expect(askWire(pair, query, searching.address)).toBeDefined();
    happen(pair);
    expect(askWire(pair, query, searching.address)).toBeUndefined();
    // And again, with what is there now.
    await know(pair, query);
    const wanted = await pair.reference(query, searching);
    expect(askWire(pair, query, searching.address) ?? wanted).toEqual(Buffer.from(wanted!));
  });
});
