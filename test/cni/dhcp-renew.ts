// Run in a pod by dhcp.lab.test.ts: renews a lease as a client in the state RENEWING does (RFC 2131,
// 4.4.5), by unicast from the leased address to the server. Prints the type of the answer: 5 is DHCPACK.
// Arguments: the server, the address, the client identifier as dnsmasq's lease file has it.
import { createSocket } from "node:dgram";

const [server = "", address = "", clientId = ""] = process.argv.slice(2);
const fixed = Buffer.alloc(236);
fixed.set([1, 1, 6, 0]); // BOOTREQUEST, Ethernet
fixed.writeUInt32BE(0x76c1_0001, 4);
fixed.set(address.split(".").map(Number), 12); // ciaddr
fixed.set([2, 0, 0, 0, 0, 1], 28); // chaddr: the identifier tells who it is
const identifier = clientId.split(":").map((octet) => Number.parseInt(octet, 16));
const options = [0x63, 0x82, 0x53, 0x63, 53, 1, 3, 61, identifier.length, ...identifier, 255];

const socket = createSocket("udp4");
socket.on("message", (message) => {
  const at = message.indexOf(Buffer.from([53, 1]), 240);
  process.stdout.write(`message ${message[at + 2]}\n`);
  socket.close();
});
socket.bind(68, address, () => socket.send(Buffer.from([...fixed, ...options]), 67, server));
setTimeout(() => process.exit(1), 5_000).unref();
