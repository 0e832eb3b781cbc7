import { expect, test } from "vitest";
import { SearchingClients } from "./searching-clients.ts";

const path = 1;
const domain = Uint8Array.of(4, 112, 114, 111, 100, 0);
const other = Uint8Array.of(3, 100, 101, 118, 0);
const octets = (last: number): Uint8Array => Uint8Array.of(10, 244, 1, last);

/** As a query comes: struct sockaddr_in, with the port in front of the address. */
function domainOf(clients: SearchingClients, last: number): Uint8Array | undefined {
  const memory = new Uint8Array(16);
  memory.set(octets(last), 4);
  return clients.find(memory, 0, 16)?.domain;
}

test("who searches is found until it is gone, with its newest list", () => {
  const clients = new SearchingClients();
  for (const last of [2, 3]) clients.set({ address: octets(last), domain, path });
  expect([2, 3, 4].map((last) => domainOf(clients, last))).toEqual([domain, domain, undefined]);
  clients.set({ address: octets(3), domain: other, path });
  clients.remove(octets(2));
  clients.remove(octets(4));
  expect([2, 3, 4].map((last) => domainOf(clients, last))).toEqual([undefined, other, undefined]);
});

test("addresses of one hash are kept apart", () => {
  const clients = new SearchingClients();
  const addresses = Array.from({ length: 70_000 }, (_, i) =>
    Uint8Array.of(10, 1 + (i >> 16), (i >> 8) & 255, i & 255),
  );
  for (const address of addresses) clients.set({ address, domain, path });
  for (const address of addresses.slice(1)) clients.remove(address);
  const memory = new Uint8Array(16);
  const found = addresses.filter((address) => {
    memory.set(address, 4);
    return clients.find(memory, 0, 16) !== undefined;
  });
  expect(found).toEqual(addresses.slice(0, 1));
});
