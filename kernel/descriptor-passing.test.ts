import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mostDescriptors, receiveDescriptors, sendDescriptors } from "./descriptor-passing.ts";
import { connectTo, listenAt } from "./unix-socket.ts";

test("descriptors arrive as others of the same files, with the octets that they were sent with", async () => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-descriptors-"));
  const path = join(directory, "socket");
  const accepted = Promise.withResolvers<number>();
  using _listening = listenAt({ path, onConnection: accepted.resolve, onError: accepted.reject });
  const near = connectTo(path, 2_000);
  const far = await accepted.promise;
  const file = join(directory, "file");
  writeFileSync(file, "what is in it");
  const opened = [openSync(file, "r"), openSync(directory, "r")];
  sendDescriptors(far, Buffer.from("two of them"), opened);
  const { data, fds } = receiveDescriptors(near, 100);
  expect(Buffer.from(data).toString()).toBe("two of them");
  expect(fds).toHaveLength(2);
  expect(fds.map((fd) => fstatSync(fd).ino)).toEqual(opened.map((fd) => fstatSync(fd).ino));
  for (const fd of opened) closeSync(fd);
  // Open all the same.
  expect(readFileSync(fds[0]!, "utf8")).toBe("what is in it");
  sendDescriptors(far, Buffer.from("none"), []);
  expect(receiveDescriptors(near, 100).fds).toEqual([]);
  expect(() => receiveDescriptors(near, 100)).toThrow("EAGAIN");
  closeSync(far);
  expect(receiveDescriptors(near, 100).data).toHaveLength(0);
  for (const fd of [near, ...fds]) closeSync(fd);
  rmSync(directory, { recursive: true });
}, 30_000);

test("more than fit are refused before they are sent", () => {
  const fds = Array.from({ length: mostDescriptors + 1 }, () => 0);
  expect(() => sendDescriptors(0, Buffer.from("x"), fds)).toThrow("64 at most");
});
