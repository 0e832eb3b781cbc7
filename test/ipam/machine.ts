import type { BootClock, Clock } from "../../core/clock.ts";

/** A machine whose clocks a test steps, and that it starts again. */
export class TestMachineClocks implements BootClock, Clock {
  bootId = "boot-1";
  elapsed = 1_000_000;
  wall = 1_700_000_000_000;
  elapsedMs = (): number => this.elapsed;
  nowMs = (): number => this.wall;
  monotonicMs = (): number => performance.now();

  pass(ms: number): void {
    this.elapsed += ms;
    this.wall += ms;
  }

  /** Half an hour after it went off. */
  reboot(id: string): void {
    this.bootId = id;
    this.elapsed = 5_000;
    this.wall += 1_800_000;
  }
}
