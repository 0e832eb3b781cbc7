import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { whatFollows } from "./follow-up.ts";

const { signal } = new AbortController();

test("whatFollows() says that the daemon tells the cluster only where one answers", async () => {
  const path = join(temporaryDirectory(), "status.sock");
  expect(await whatFollows(path, signal)).toBe(
    "no daemon answers on this node: the cluster is told when it runs",
  );
  const server = createServer((socket) => socket.end("{}"));
  onTestFinished(() => void server.close());
  await once(server.listen(path), "listening");
  expect(await whatFollows(path, signal)).toBe("the daemon tells the cluster");
});
