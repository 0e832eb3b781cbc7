import { describe, expect, test } from "vitest";
import { ip } from "../../test/support/builders.ts";
import type { Edns } from "../message/message.ts";
import { answeredCookie, cookieAge, cookieIn, type CookieMaker } from "./server-cookie.ts";

const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const hexOf = (octets: Uint8Array): string => Buffer.from(octets).toString("hex");
const edns = (...cookies: readonly string[]): Edns => ({
  udpSize: 1232,
  version: 0,
  dnssecOk: false,
  options: cookies.map((hex) => ({ code: 10, octets: octets(hex) })),
});
const none = new Uint8Array();

describe("answeredCookie(), by the vectors of RFC 9018", () => {
  const secret = octets("e5e973e5a6b2a43f48e7dc849e37bfcf");
  const client = octets("2464c4abcf10c957");
  const address = ip("198.51.100.100");

  test("A.1 learning a new one", () => {
    const made = answeredCookie({ client, server: none }, address, {
      secret,
      nowSeconds: 1559731985,
    });
    expect(hexOf(made)).toBe("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
  });

  test("A.2 the same one again while it is young, another one later", () => {
    const server = octets("010000005cf79f111f8130c3eee29480");
    const at = (nowSeconds: number): CookieMaker => ({ secret, nowSeconds });
    const again = (nowSeconds: number): string =>
      hexOf(answeredCookie({ client, server }, address, at(nowSeconds)).subarray(8));
    expect(again(1559731985 + 1799)).toBe(hexOf(server));
    expect(again(1559734385)).toBe("010000005cf7a871d4a564a1442aca77");
    const age = (nowSeconds: number): number | undefined =>
      cookieAge({ client, server }, address, at(nowSeconds));
    expect(age(1559731985 + 3600)).toBe(3600);
    expect(age(1559731985 + 3601)).toBeUndefined();
    expect(age(1559731985 - 300)).toBe(-300);
    expect(age(1559731985 - 301)).toBeUndefined();
  });

  test("another's is not ours: of another address, client, secret or make", () => {
    const server = octets("010000005cf79f111f8130c3eee29480");
    const maker = { secret, nowSeconds: 1559731985 };
    expect(cookieAge({ client, server }, address, maker)).toBe(0);
    expect(cookieAge({ client, server }, ip("198.51.100.101"), maker)).toBeUndefined();
    expect(cookieAge({ client: octets("00".repeat(8)), server }, address, maker)).toBeUndefined();
    const secretLess = { ...maker, secret: octets("00".repeat(16)) };
    expect(cookieAge({ client, server }, address, secretLess)).toBeUndefined();
    expect(cookieAge({ client, server: server.subarray(0, 8) }, address, maker)).toBeUndefined();
  });
});

describe("cookieIn()", () => {
  test.each([8, 16, 24, 40])("takes %i octets", (length) => {
    const found = cookieIn(edns("ab".repeat(length)));
    if (found === undefined || found === "malformed") throw new Error(String(found));
    expect([found.client.length, found.server.length]).toEqual([8, length - 8]);
  });

  test.each([0, 7, 9, 15, 41])("%i octets are malformed", (length) => {
    expect(cookieIn(edns("ab".repeat(length)))).toBe("malformed");
  });

  test("takes the first of several, and none of none", () => {
    expect(cookieIn(edns("ab".repeat(8), "cd"))).toMatchObject({ server: none });
    expect(cookieIn(edns())).toBeUndefined();
  });
});
