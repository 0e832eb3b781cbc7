import type { Family } from "../core/address.ts";

/** AF_INET and AF_INET6, <sys/socket.h>. */
export const addressFamily = (family: Family): number => (family === 4 ? 2 : 10);

/** Undefined for every other address family. */
export const familyFrom = (addressFamily: number): Family | undefined =>
  addressFamily === 2 ? 4 : addressFamily === 10 ? 6 : undefined;
