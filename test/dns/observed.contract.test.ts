// What the resolver tells about its work: lines of queries, times and sizes.
import { expect, test } from "vitest";
import { type LogFields, silentLog } from "../../core/log.ts";
import { until } from "./forwarder.ts";
import { fixtureSnapshot } from "./fixture.ts";
import { exampleWorld, startUpstream } from "./scripted-upstream.ts";
import { ask, askUntil, startTestDns } from "./test-server.ts";

test("queries are logged with client, question and outcome, and all answers counted", async () => {
  const lines: LogFields[] = [];
  const log = {
    ...silentLog,
    info: (fields: LogFields, message: string): void => {
      if (message === "query") lines.push(fields);
    },
  };
  await using upstream = await startUpstream(exampleWorld);
  await using server = await startTestDns({
    upstreams: [upstream.upstream],
    queryLog: { share: 1, perSecond: 1000 },
    log,
  });
  server.publish(fixtureSnapshot());
  await askUntil("web.prod.svc.cluster.local", "A", ({ rcode }) => rcode === "NOERROR");
  await ask("nosuch.prod.svc.cluster.local", "AAAA");
  await ask("api.example.com", "A");
  const lineOf = (name: string): LogFields | undefined =>
    lines.find((line) => line["name"] === name);
  await until(() => lineOf("api.example.com") !== undefined, "the last line");
  expect(lineOf("nosuch.prod.svc.cluster.local")).toMatchObject({
    client: "127.0.0.1",
    proto: "udp",
    type: "AAAA",
    rcode: "NXDOMAIN",
    answers: 0,
  });
  expect(lineOf("api.example.com")).toMatchObject({ type: "A", rcode: "NOERROR", answers: 1 });
  const { udp, tcp } = server.traffic();
  expect(udp.durations.count).toBe(lines.length);
  expect(udp.sizes.count).toBe(lines.length);
  expect(udp.durations.sum).toBeGreaterThan(0);
  expect(tcp.durations.count).toBe(0);
  expect(server.upstreams()).toMatchObject([{ requests: 1, responses: { NOERROR: 1 } }]);
});
