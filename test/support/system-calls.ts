// System calls of a kernel that a test scripts: what is not a part of the script fails the test.
import type { SystemCalls } from "../../kernel/ffi.ts";

const refuse = (): never => {
  throw new Error("not a part of the script");
};

/** Those of a socket that is there already, as the script has them. */
export const scriptedCalls = (script: Pick<SystemCalls, "send" | "recv">): SystemCalls => ({
  socket: refuse,
  connect: refuse,
  bind: refuse,
  listen: refuse,
  accept: refuse,
  setsockopt: refuse,
  getsockopt: refuse,
  setns: refuse,
  ioctl: refuse,
  flock: refuse,
  close: () => 0,
  ...script,
});
