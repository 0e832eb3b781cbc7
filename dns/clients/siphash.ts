/**
 * SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"): 8 octets that nobody can tell
 * without the key of 16. In halves of 64-bit words: numbers here have 32 bits.
 */
export function sipHash(key: Uint8Array, input: Uint8Array): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  const keys = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const [k0, k0h, k1, k1h] = [0, 4, 8, 12].map((at) => keys.getInt32(at, true));
  // Low and high half of each of the four words.
  const v = new Int32Array([
    0x70736575 ^ (k0 ?? 0),
    0x736f6d65 ^ (k0h ?? 0),
    0x6e646f6d ^ (k1 ?? 0),
    0x646f7261 ^ (k1h ?? 0),
    0x6e657261 ^ (k0 ?? 0),
    0x6c796765 ^ (k0h ?? 0),
    0x79746573 ^ (k1 ?? 0),
    0x74656462 ^ (k1h ?? 0),
  ]);
  const whole = input.length & ~7;
  for (let at = 0; at < whole; at += 8) {
    compress(v, view.getInt32(at, true), view.getInt32(at + 4, true));
  }
  const rest = new DataView(new ArrayBuffer(8));
  for (let i = whole; i < input.length; i++) rest.setUint8(i - whole, input[i] ?? 0);
  rest.setUint8(7, input.length & 0xff);
  compress(v, rest.getInt32(0, true), rest.getInt32(4, true));
  v[4] = (v[4] ?? 0) ^ 0xff;
  for (let i = 0; i < 4; i++) round(v);
  const out = new DataView(new ArrayBuffer(8));
  const folded = (half: 0 | 1): number =>
    (v[half] ?? 0) ^ (v[2 + half] ?? 0) ^ (v[4 + half] ?? 0) ^ (v[6 + half] ?? 0);
  out.setInt32(0, folded(0), true);
  out.setInt32(4, folded(1), true);
  return new Uint8Array(out.buffer);
}

function compress(v: Int32Array, low: number, high: number): void {
  v[6] = (v[6] ?? 0) ^ low;
  v[7] = (v[7] ?? 0) ^ high;
  round(v);
  round(v);
  v[0] = (v[0] ?? 0) ^ low;
  v[1] = (v[1] ?? 0) ^ high;
}

function round(v: Int32Array): void {
  add(v, 0, 2);
  rotate(v, 2, 13);
  mix(v, 2, 0);
  rotate(v, 0, 32);
  add(v, 4, 6);
  rotate(v, 6, 16);
  mix(v, 6, 4);
  add(v, 0, 6);
  rotate(v, 6, 21);
  mix(v, 6, 0);
  add(v, 4, 2);
  rotate(v, 2, 17);
  mix(v, 2, 4);
  rotate(v, 4, 32);
}

function add(v: Int32Array, to: number, from: number): void {
  const low = ((v[to] ?? 0) >>> 0) + ((v[from] ?? 0) >>> 0);
  v[to] = low;
  v[to + 1] = (v[to + 1] ?? 0) + (v[from + 1] ?? 0) + (low > 0xffff_ffff ? 1 : 0);
}

function mix(v: Int32Array, to: number, from: number): void {
  v[to] = (v[to] ?? 0) ^ (v[from] ?? 0);
  v[to + 1] = (v[to + 1] ?? 0) ^ (v[from + 1] ?? 0);
}

function rotate(v: Int32Array, at: number, bits: number): void {
  const [low, high] = [v[at] ?? 0, v[at + 1] ?? 0];
  if (bits === 32) {
    v[at] = high;
    v[at + 1] = low;
    return;
  }
  v[at] = (low << bits) | (high >>> (32 - bits));
  v[at + 1] = (high << bits) | (low >>> (32 - bits));
}
