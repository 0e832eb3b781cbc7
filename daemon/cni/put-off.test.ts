import { expect, test, vi } from "vitest";
import { type Log, silentLog } from "../../core/log.ts";
import { PutOff } from "./put-off.ts";

const named = (name: string, done: string[]): Disposable => ({
  [Symbol.dispose]: () => void done.push(name),
});

test("disposes in order, after the answer, by itself", async () => {
  const done: string[] = [];
  const putOff = new PutOff(silentLog);
  for (const name of ["lock", "sandbox"]) putOff.add(named(name, done));
  await Promise.resolve();
  expect(done).toEqual([]);
  await vi.waitFor(() => expect(done).toEqual(["lock", "sandbox"]), { timeout: 30_000 });
});

test("waits after what is added last, by who has just answered", () => {
  vi.useFakeTimers();
  try {
    const done: string[] = [];
    using putOff = new PutOff(silentLog);
    putOff.add(named("lease", done));
    vi.advanceTimersByTime(1);
    putOff.add(named("lock", done));
    vi.advanceTimersByTime(1);
    expect(done).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(done).toEqual(["lease", "lock"]);
  } finally {
    vi.useRealTimers();
  }
});

test("disposes of all before the next request, once, whatever fails", () => {
  const done: string[] = [];
  const errors: string[] = [];
  const log: Log = { ...silentLog, error: (_, message) => void errors.push(message) };
  using putOff = new PutOff(log);
  putOff.add({
    [Symbol.dispose]: () => {
      throw new Error("EIO");
    },
  });
  putOff.add(named("sandbox", done));
  putOff.flush();
  putOff.flush();
  expect(done).toEqual(["sandbox"]);
  expect(errors).toEqual(["cannot clean up after a request"]);
});

test("leaves nothing when it is disposed", () => {
  const done: string[] = [];
  const putOff = new PutOff(silentLog);
  putOff.add(named("lock", done));
  putOff[Symbol.dispose]();
  expect(done).toEqual(["lock"]);
});
