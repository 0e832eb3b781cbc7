// Labs for tests, in directories of their own. Names carry the pid of their maker: whoever comes next
// removes those of a test that was killed.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { artifacts } from "../../cli/home.ts";
import { labDown } from "../../cli/lab/lab.ts";

const prefix = "fltest-lab";
let count = 0;

export interface TestLab {
  readonly directory: string;
  /** Runs `fairlead lab …` with the lab's directory; never throws. */
  run(...args: readonly string[]): { status: number | null; stdout: string; stderr: string };
  /** As `run`, in the background, to be killed. */
  start(...args: readonly string[]): ReturnType<typeof spawn>;
  /** The pids of every process that came from `run` or `start` and still lives. */
  processes(): number[];
}

export async function testLab(): Promise<TestLab> {
  await removeAbandonedLabs();
  const name = `${prefix}-${process.pid}-${++count}`;
  const directory = `/run/${name}`;
  // Inherited by all that comes from the command, in whatever namespace: how the rest is found.
  const env = { ...process.env, FLTEST_LAB: name };
  const withDirectory = (args: readonly string[]): string[] => {
    const at = args.indexOf("--");
    const [own, rest] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at)];
    return ["lab", ...own, "--dir", directory, ...rest];
  };
  return {
    directory,
    run: (...args) =>
      spawnSync(artifacts.command, withDirectory(args), { env, encoding: "utf8", timeout: 60_000 }),
    start: (...args) =>
      spawn(artifacts.command, withDirectory(args), { env, stdio: ["ignore", "pipe", "pipe"] }),
    processes: () =>
      readdirSync("/proc")
        .filter((pid) => /^\d+$/.test(pid) && hasMark(pid, `FLTEST_LAB=${name}`))
        .map(Number),
  };
}

function hasMark(pid: string, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(mark);
  } catch {
    return false; // It ended meanwhile.
  }
}

async function removeAbandonedLabs(): Promise<void> {
  for (const name of readdirSync("/run")) {
    const pid = new RegExp(`^${prefix}-(\\d+)-\\d+$`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await labDown(`/run/${name}`);
  }
}
