// Upstreams over TCP and TLS: connections that are used again, and certificates that are looked at.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Upstream } from "../../dns/handlers/settings.ts";
import type { Message } from "../../dns/message/message.ts";
import { parseUpstream } from "../../dns/upstream/upstream-text.ts";
import { type Authority, createAuthority } from "./certificates.ts";
import { addressesOf, forwarder, until } from "./forwarder.ts";
import { aQuery } from "./query.ts";
import { a, reply, startUpstream } from "./scripted-upstream.ts";
import {
  type Certificate,
  type StreamAsked,
  startStreamUpstream,
  type StreamUpstream,
} from "./stream-upstream.ts";

const answerTo = (query: Message, name: string): Message =>
  reply(query, { answers: [a(name, "192.0.2.1")] });
const atOnce = (asked: StreamAsked): void => asked.answer(answerTo(asked.query, asked.name));

let authority: Authority;
let certificate: Certificate;
beforeAll(() => {
  authority = createAuthority();
  certificate = authority.sign("DNS:dns.example");
});
afterAll(() => authority[Symbol.dispose]());

const tlsAt = ({ port }: StreamUpstream, name = "#dns.example"): Upstream =>
  parseUpstream(`tls://127.0.0.1:${port}${name}`)!;
const withAuthority = (): { settings: { mixCase: boolean; ca: string } } => ({
  settings: { mixCase: false, ca: authority.pem },
});

describe("connections", () => {
  test("many queries at once go over one, and are answered in any order", async () => {
    const held: StreamAsked[] = [];
    await using upstream = await startStreamUpstream(
      (asked) => {
        held.push(asked);
        if (held.length < 20) return;
        for (const one of held.splice(0).toReversed()) atOnce(one);
      },
      { tls: certificate },
    );
    using forward = forwarder([tlsAt(upstream)], withAuthority());
    const names = Array.from({ length: 20 }, (_, n) => `n${n}.example`);
    const answers = await Promise.all(names.map((name) => forward.resolve(aQuery(name))));
    expect(answers.map(addressesOf)).toEqual(names.map(() => ["192.0.2.1"]));
    expect(upstream.connections()).toBe(1);
    expect(new Set(upstream.asked.map(({ query }) => query.id)).size).toBe(20);
    expect(forward.stats.read()).toMatchObject([
      { requests: 20, connections: { opened: 1, reused: 19 } },
    ]);
  });

  test("past a number of queries another is opened, up to four", async () => {
    const held: StreamAsked[] = [];
    await using upstream = await startStreamUpstream((asked) => void held.push(asked), {
      tls: certificate,
    });
    using forward = forwarder([tlsAt(upstream)], withAuthority());
    const asking = Array.from({ length: 500 }, (_, n) => forward.resolve(aQuery(`n${n}.example`)));
    await until(() => held.length === 500, "500 queries");
    expect(upstream.connections()).toBe(4);
    for (const one of held) atOnce(one);
    await Promise.all(asking);
  });

  test("one that the upstream ended between two queries costs none of them", async () => {
    await using upstream = await startStreamUpstream(atOnce, { tls: certificate });
    using forward = forwarder([tlsAt(upstream)], withAuthority());
    await forward.resolve(aQuery("a.example"));
    // The upstream hangs up just when the next query is there.
    let hasHungUp = false;
    await using rude = await startStreamUpstream(
      (asked) => {
        if (asked.name === "b.example" && !hasHungUp) {
          hasHungUp = true;
          asked.hangUp();
        } else atOnce(asked);
      },
      { tls: certificate },
    );
    using again = forwarder([tlsAt(rude)], withAuthority());
    expect(addressesOf(await again.resolve(aQuery("a.example")))).toEqual(["192.0.2.1"]);
    expect(addressesOf(await again.resolve(aQuery("b.example")))).toEqual(["192.0.2.1"]);
    expect(rude.connections()).toBe(2);
    expect(again.stats.read()).toMatchObject([{ requests: 2, responses: { none: 0 } }]);
  });

  test("one that has gone silent is given up, and the next query gets a new one", async () => {
    await using upstream = await startStreamUpstream(
      (asked) => {
        if (asked.connection > 0) atOnce(asked);
      },
      { tls: certificate },
    );
    using forward = forwarder([tlsAt(upstream)], {
      ...withAuthority(),
      limits: { tryMs: 300, totalMs: 4000 },
    });
    expect(addressesOf(await forward.resolve(aQuery("a.example")))).toEqual(["192.0.2.1"]);
    expect(upstream.asked.map(({ connection }) => connection).slice(0, 2)).toEqual([0, 1]);
    await until(() => upstream.open() === 1, "the silent one closed");
  });

  test("after a truncated answer plain TCP has one connection for all queries too", async () => {
    await using upstream = await startUpstream(({ query, name, transport }) => [
      transport === "udp" ? reply(query, { truncated: true }) : answerTo(query, name),
    ]);
    using forward = forwarder([upstream.upstream]);
    for (const name of ["a.example", "b.example", "c.example"]) {
      expect(addressesOf(await forward.resolve(aQuery(name)))).toEqual(["192.0.2.1"]);
    }
    const ports = upstream.asked.filter(({ transport }) => transport === "tcp");
    expect(new Set(ports.map(({ sourcePort }) => sourcePort)).size).toBe(1);
  });

  test("stopped, the resolver leaves none open", async () => {
    await using upstream = await startStreamUpstream(atOnce, { tls: certificate });
    const forward = forwarder([tlsAt(upstream)], withAuthority());
    await forward.resolve(aQuery("a.example"));
    expect(upstream.open()).toBe(1);
    // Its own way to stop.
    const stop = new AbortController();
    const second = forwarder([tlsAt(upstream)], { ...withAuthority(), signal: stop.signal });
    await second.resolve(aQuery("a.example"));
    expect(upstream.open()).toBe(2);
    stop.abort();
    forward[Symbol.dispose]();
    await until(() => upstream.open() === 0, "both closed");
  });
});

describe("DNS over TLS", () => {
  test("asks with the server's name, never in plain, in blocks of one length", async () => {
    await using upstream = await startStreamUpstream(atOnce, { tls: certificate });
    using forward = forwarder([tlsAt(upstream)], withAuthority());
    for (const name of ["a.example", "a-rather-longer-name.of.example"]) {
      expect(addressesOf(await forward.resolve(aQuery(name)))).toEqual(["192.0.2.1"]);
    }
    expect(upstream.serverNames).toEqual(["dns.example"]);
    const { encodeMessage } = await import("../../dns/message/encode.ts");
    expect(upstream.asked.map(({ query }) => encodeMessage(query).length)).toEqual([128, 128]);
  });

  test("without a name the certificate must have the address", async () => {
    const tls = authority.sign("IP:127.0.0.1");
    await using upstream = await startStreamUpstream(atOnce, { tls });
    using forward = forwarder([tlsAt(upstream, "")], withAuthority());
    expect(addressesOf(await forward.resolve(aQuery("a.example")))).toEqual(["192.0.2.1"]);
  });

  const failing: readonly (readonly [string, () => Certificate, string, RegExp])[] = [
    [
      "another name",
      () => certificate,
      "#other.example",
      /its certificate is not for other\.example: it is for DNS:dns\.example\. Expected tls:\/\/127\.0\.0\.1#NAME/,
    ],
    [
      "no address in it",
      () => certificate,
      "",
      /its certificate is not for the address 127\.0\.0\.1/,
    ],
    [
      "an end that has passed",
      () => authority.sign("DNS:dns.example", "past"),
      "#dns.example",
      /has run out, or this node's clock is wrong/,
    ],
    [
      "an authority that nobody knows",
      () => {
        using stranger = createAuthority();
        return stranger.sign("DNS:dns.example");
      },
      "#dns.example",
      /no authority that is trusted signed its certificate .*dns\.forward\.ca/,
    ],
  ];
  test.each(failing)("a certificate with %s is refused, and the reason named", async (...given) => {
    const [, tls, name, problem] = given;
    await using upstream = await startStreamUpstream(atOnce, { tls: tls() });
    using forward = forwarder([tlsAt(upstream, name)], withAuthority());
    expect((await forward.resolve(aQuery("a.example"))).rcode).toBe(2);
    expect(upstream.asked).toEqual([]);
    expect(forward.stats.read()[0]?.problem).toMatch(problem);
  });

  test("a port that speaks no TLS is named too", async () => {
    await using upstream = await startStreamUpstream(atOnce);
    // Whatever comes that is no frame: it hangs up, or answers in its own language.
    await using plain = await startPlainServer();
    using forward = forwarder([tlsAt({ ...upstream, port: plain.port })], withAuthority());
    expect((await forward.resolve(aQuery("a.example"))).rcode).toBe(2);
    expect(forward.stats.read()[0]?.problem).toMatch(/does not speak TLS at this port/);
  });
});

async function startPlainServer(): Promise<AsyncDisposable & { readonly port: number }> {
  const { createServer } = await import("node:net");
  const { once } = await import("node:events");
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end("220 not what you think\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}
