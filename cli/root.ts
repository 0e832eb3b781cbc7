/** Throws for a process that is not root's: its message is clearer than that of whatever fails first. */
export function requireRoot(action: string): void {
  if (process.geteuid?.() !== 0) throw new Error(`Cannot ${action} without root`);
}
