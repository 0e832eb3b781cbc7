// A program for a sandbox: answers on each port named, TCP and UDP of both families, with its own name
// and who asked. Says "ready" when it can.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";

const [name = "", ...ports] = process.argv.slice(2);
const answerTo = (address: string | undefined): string =>
  `${name} ${(address ?? "").replace("::ffff:", "")}\n`;

for (const port of ports.map(Number)) {
  const server = createServer((socket) => socket.end(answerTo(socket.remoteAddress)));
  await once(server.listen(port, "::"), "listening");
  for (const type of ["udp4", "udp6"] as const) {
    const socket = createSocket({ type, ipv6Only: type === "udp6" });
    socket.on("message", (_, from) => socket.send(answerTo(from.address), from.port, from.address));
    await new Promise<void>((resolve) => socket.bind(port, resolve));
  }
}
process.stdout.write("ready\n");
