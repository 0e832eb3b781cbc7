import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";

/** What a request may name to be read: more than any such file has. */
const limit = 65_536;

/**
 * The text of a file that a request names. Throws where it is no regular file, which is seen before it is
 * opened: a device or a FIFO would not come to an end, and hold up everybody. Throws when there is too
 * much.
 */
export function readSmallFile(path: string): string {
  if (!statSync(path).isFile()) throw new Error(`"${path}" is no regular file`);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    if (!fstatSync(fd).isFile()) throw new Error(`"${path}" is no regular file`);
    return readAll(fd, path);
  } finally {
    closeSync(fd);
  }
}

// To the end, not to the size: files of /proc have none.
function readAll(fd: number, path: string): string {
  const buffer = Buffer.alloc(limit + 1);
  let length = 0;
  for (;;) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    length += count;
    if (count === 0) return buffer.toString("utf8", 0, length);
    if (length > limit) throw new Error(`"${path}" has more than ${limit} octets`);
  }
}
