import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const program = `
import { setTimeout } from "node:timers/promises";
import { execa } from "execa";
import { stopSignal } from "./cli/stop-signal.ts";
const signal = stopSignal();
const child = execa("sleep", ["60"]);
process.stdout.write("ready ");
await new Promise((resolve) => signal.addEventListener("abort", resolve));
process.stdout.write(signal.reason.message);
child.kill();
await child.catch(() => undefined);
if (process.argv[1] === "stay") await setTimeout(60_000);
process.exitCode = 7;
`;

function start(...args: string[]) {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, ...args], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  return {
    ended: once(child, "exit"),
    signal: async (name: "SIGINT" | "SIGTERM", after: string) => {
      while (!output.includes(after)) await once(child.stdout, "data");
      child.kill(name);
    },
    output: () => output,
  };
}

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s lets the process clean up, although a child of execa runs",
  async (name) => {
    const program = start();
    await program.signal(name, "ready");
    expect(await program.ended).toEqual([7, null]);
    expect(program.output()).toBe(`ready Stopped by ${name}`);
  },
);

test("a second signal ends the process", async () => {
  const program = start("stay");
  await program.signal("SIGINT", "ready");
  await program.signal("SIGINT", "Stopped");
  expect(await program.ended).toEqual([null, "SIGINT"]);
});
