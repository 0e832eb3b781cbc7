/**
 * What this thread has worked, milliseconds from an arbitrary start. Unlike a clock's time it does not grow
 * while a disk, a lock or the machine's other work is waited for.
 */
export function processorMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
