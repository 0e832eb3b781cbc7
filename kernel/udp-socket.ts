// UDP sockets by descriptor, for threads that share them: a socket of node:dgram belongs to one.
import { closeSync } from "node:fs";
import { familyOf, type Ip, ipFromBytes, ipToBytes } from "../core/address.ts";
import { checked } from "./errno.ts";
import { addressFamily } from "./family.ts";
import { datagramCalls, systemCalls } from "./ffi.ts";

// <sys/socket.h>, <asm-generic/socket.h>, <netinet/in.h>.
const sockDgram = 2;
const sockCloexec = 0x8_0000;
const solSocket = 1;
const soRcvbuf = 8;
const soRcvbufforce = 33;
const ipprotoIpv6 = 41;
const ipv6V6only = 26;
const ipv6Freebind = 78;
const msgDontwait = 0x40;

/**
 * A socket bound to the address alone. Throws KernelError. `receiveBufferOctets` is cut down by the
 * kernel's net.core.rmem_max where this process has no CAP_NET_ADMIN.
 */
export function bindUdp(address: Ip, port: number, receiveBufferOctets: number): number {
  const what = `port ${port} of ${address}`;
  const family = familyOf(address);
  const type = sockDgram | sockCloexec;
  const fd = checked(
    systemCalls.socket(addressFamily(family), type, 0),
    `open a UDP socket for ${what}`,
  );
  try {
    if (family === 6) ownIpv6(fd);
    growReceiveBuffer(fd, receiveBufferOctets);
    checked(systemCalls.bind(fd, socketAddress(address, port)), `bind ${what}`);
    return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

// Past net.core.rmem_max for who may administer the network: what comes while nobody reads has to fit.
function growReceiveBuffer(fd: number, octets: number): void {
  const value = new Uint8Array(Int32Array.of(octets).buffer);
  const forced = systemCalls.setsockopt(fd, solSocket, soRcvbufforce, value);
  if (forced < 0) setOption(fd, solSocket, soRcvbuf, octets);
}

/**
 * What a socket needs before it is bound to an IPv6 address alone, which only a route makes local: unlike those of
 * IPv4, the kernel takes it for nobody's unless an interface has it. Throws KernelError.
 */
export function ownIpv6(fd: number): void {
  setOption(fd, ipprotoIpv6, ipv6V6only, 1);
  setOption(fd, ipprotoIpv6, ipv6Freebind, 1);
}

function setOption(fd: number, level: number, option: number, value: number): void {
  const octets = new Uint8Array(Int32Array.of(value).buffer);
  checked(systemCalls.setsockopt(fd, level, option, octets), `set option ${option} of a socket`);
}

/** struct sockaddr_in or sockaddr_in6. */
export function socketAddress(address: Ip, port: number): Uint8Array {
  const family = familyOf(address);
  const octets = Buffer.alloc(family === 4 ? 16 : 28);
  octets.writeUInt16LE(addressFamily(family));
  octets.writeUInt16BE(port, 2);
  octets.set(ipToBytes(address), family === 4 ? 4 : 8);
  return octets;
}

/** The address in a struct sockaddr_in or sockaddr_in6. */
export const addressFrom = (octets: Uint8Array): Ip =>
  ipFromBytes(octets.length < 28 ? octets.subarray(4, 8) : octets.subarray(8, 24));

/** One datagram, without waiting; whether it is on its way. */
export const sendUdp = (fd: number, octets: Uint8Array, to: Uint8Array): boolean =>
  datagramCalls.sendto(fd, octets, to, msgDontwait) >= 0;
