// The launcher looks for its runtime in a path that `install` writes into the copy it installs: the
// launcher stays one static file without a configuration of its own.

/** What the launcher's source has where the path goes, with NULs after it up to the slot's length. */
export const homeMarker = "FAIRLEAD-HOME-SLOT:";
/** Octets of the slot after the marker, the closing NUL among them. */
export const homeSlotLength = 512;

/**
 * The launcher with that home written in; the input stays as it is. Throws RangeError when the home
 * is not absolute or too long, Error when the binary has not exactly one slot.
 */
export function patchLauncherHome(binary: Uint8Array, home: string): Uint8Array {
  const path = Buffer.from(home);
  if (!home.startsWith("/") || home.includes("\0") || path.length >= homeSlotLength) {
    throw new RangeError(
      `Invalid home "${home}": expected an absolute path of less than ${homeSlotLength} octets`,
    );
  }
  const patched = Buffer.from(binary);
  const start = patched.indexOf(homeMarker);
  if (start < 0 || patched.indexOf(homeMarker, start + 1) >= 0) {
    throw new Error("Cannot write the home into the launcher: expected exactly one slot for it");
  }
  const slot = patched.subarray(start + homeMarker.length).subarray(0, homeSlotLength);
  if (slot.length < homeSlotLength) {
    throw new Error("Cannot write the home into the launcher: its slot is cut short");
  }
  slot.fill(0).set(path);
  return patched;
}
