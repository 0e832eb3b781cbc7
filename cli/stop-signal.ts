/**
 * Aborted by the first SIGINT or SIGTERM. A second one ends the process in the kernel's way.
 *
 * The listeners stay in place: execa, while a child runs, ends the process at a signal for which it
 * finds no listener but its own (signal-exit), and nothing would be cleaned up.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    const stop = (): void => {
      if (controller.signal.aborted) {
        process.off(name, stop);
        process.kill(process.pid, name);
      } else {
        controller.abort(new Error(`Stopped by ${name}`));
      }
    };
    process.on(name, stop);
  }
  return controller.signal;
}
