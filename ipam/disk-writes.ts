/** The calls of node:fs that change the disk: a parameter, so that a test stops at any of them. */
export interface DiskWrites {
  mkdirSync(path: string, options: { readonly mode: number }): unknown;
  writeFileSync(
    path: string,
    content: string,
    options: { readonly flag?: string; readonly mode: number },
  ): void;
  openSync(path: string, flags: number, mode: number): number;
  /** Without a position at the descriptor's own. */
  writeSync(fd: number, content: string, position: number | null): number;
  ftruncateSync(fd: number, length: number): void;
  linkSync(existing: string, path: string): void;
  renameSync(from: string, to: string): void;
  unlinkSync(path: string): void;
  utimesSync(path: string, accessedSeconds: number, modifiedSeconds: number): void;
}
