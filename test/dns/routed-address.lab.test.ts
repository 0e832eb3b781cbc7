// A service address is no interface's: a route in table local makes it the node's own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createNamespace } from "../support/netns.ts";

const scenes = (["batched", "plain"] as const).flatMap((udp) =>
  (["10.96.0.10", "fd00:10:96::a"] as const).map((address) => [udp, address] as const),
);

test.each(scenes)(
  "%s: answers on %s over UDP and TCP",
  async (udp, address) => {
    using namespace = createNamespace();
    const length = address.includes(":") ? 128 : 32;
    namespace.run("ip", "route", "add", "local", `${address}/${length}`, "dev", "lo");
    const serve = join(import.meta.dirname, "serve.ts");
    // As the daemon has it: the node asks from the address it asks at, or from its own.
    const words = [process.execPath, serve, address, `${address}/${length}`, "5300"];
    const child = spawn("ip", ["netns", "exec", namespace.name, ...words], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, FAIRLEAD_TEST_UDP: udp },
    });
    const ended = once(child, "close");
    try {
      const ready = once(child.stdout, "data").then(([chunk]) => String(chunk));
      expect(await Promise.race([ready, ended.then(() => "ended")])).toBe("ready\n");
      for (const transport of ["+notcp", "+tcp", "+notcp"]) {
        const options = ["+short", "+time=5", "+tries=1", transport, `@${address}`];
        const said = namespace.run("dig", ...options, "web.prod.svc.cluster.local");
        expect(said.trim()).toBe("10.96.1.1");
      }
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  },
  60_000,
);
