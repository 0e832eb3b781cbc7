import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { UsageError } from "../context.ts";

/** What every lab command takes. */
export interface LabOptions {
  readonly dir: string;
  readonly json?: boolean;
}

export interface UpOptions extends LabOptions {
  readonly nodes?: string;
  readonly cluster?: string;
  readonly source: string;
}

export interface PodAddOptions extends LabOptions {
  readonly node: string;
  readonly namespace: string;
  readonly label: Readonly<Record<string, string>>;
}

export const defaultLabDirectory = "/run/fairlead-lab";
/** How many nodes the demo's manifests have. */
export const defaultNodeCount = 3;
/** Most nodes a lab takes: they are processes on one machine. */
export const nodesMax = 100;

/** `--dir`, as the kernel names what is mounted there: absolute, without links on the way. */
export function resolveDirectory(text: string): string {
  const path = resolve(text);
  const parent = dirname(path);
  return join(existsSync(parent) ? realpathSync(parent) : parent, basename(path));
}

/** `--nodes`: a whole number from 1. */
export function parseNodeCount(text: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > nodesMax) {
    throw new UsageError(`Cannot make "${text}" nodes: expected a number from 1 to ${nodesMax}`);
  }
  return count;
}

/** `--source`. */
export function parseLabSource(text: string): "file" | "etcd" {
  if (text === "file" || text === "etcd") return text;
  throw new UsageError(`Cannot read the cluster from "${text}": expected file or etcd`);
}

/** `--label`, may be repeated: `k=v`, as `kubectl label` takes it. */
export function collectLabel(
  text: string,
  labels: Readonly<Record<string, string>>,
): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new UsageError(`Cannot take the label "${text}": expected key=value`);
  }
  return { ...labels, [key]: value };
}

// RFC 1123, as Kubernetes has it; the name is also a host name, a file name and a part of DNS names.
/** A pod's or a namespace's name. */
export function checkName(what: string, name: string): void {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return;
  throw new UsageError(
    `Cannot name a ${what} "${name}": expected a to z, 0 to 9 and - between them, at most 63`,
  );
}
