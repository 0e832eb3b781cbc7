import { expect, test } from "vitest";
import { homeMarker, homeSlotLength, patchLauncherHome } from "./launcher-home.ts";

const launcher = Buffer.concat([
  Buffer.from(`ELF…${homeMarker}`),
  Buffer.alloc(homeSlotLength),
  Buffer.from("code"),
]);
const slotOf = (binary: Buffer) => {
  const start = binary.indexOf(homeMarker) + homeMarker.length;
  return binary.toString("utf8", start, start + homeSlotLength).replace(/\0+$/, "");
};

test("patchLauncherHome() writes the home, and only the home", () => {
  const patched = Buffer.from(patchLauncherHome(launcher, "/usr/lib/fairlead/current"));
  expect(slotOf(patched)).toBe("/usr/lib/fairlead/current");
  expect(patched).toHaveLength(launcher.length);
  expect(patched.toString("utf8").endsWith("\0code")).toBe(true);
  expect(slotOf(launcher)).toBe("");
});

test("patchLauncherHome() replaces a home that was written before", () => {
  const first = patchLauncherHome(launcher, "/a/long/home");
  expect(slotOf(Buffer.from(patchLauncherHome(first, "/b")))).toBe("/b");
});

test.each(["relative", "", "/with\0nul", `/${"x".repeat(homeSlotLength)}`])(
  "patchLauncherHome() refuses the home %j",
  (home) => expect(() => patchLauncherHome(launcher, home)).toThrow("expected an absolute path"),
);

test.each([
  ["no slot", Buffer.from("ELF")],
  ["two slots", Buffer.concat([launcher, launcher])],
  ["half a slot", launcher.subarray(0, 100)],
])("patchLauncherHome() refuses a binary with %s", (_, binary) => {
  expect(() => patchLauncherHome(binary, "/x")).toThrow("Cannot write the home");
});
