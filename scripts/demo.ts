// ./run demo [--keep]: the main job from end to end, on this machine, in network namespaces.
import { existsSync } from "node:fs";
import { parseArgs, styleText } from "node:util";
import { artifacts } from "../cli/home.ts";
import { describeError } from "../core/error.ts";
import { type Claim, formatClaims, type Paint } from "./demo/claim.ts";
import { tell } from "./demo/story.ts";

const usage = `usage: ./run demo [--keep] [--dir DIR]
  --keep     leave the lab up: "dist/bin/fairlead lab exec …", then "dist/bin/fairlead lab down"
  --dir DIR  where the lab is (default: /run/fairlead-demo)
`;
/** Far more than it takes (a few seconds): a demo that hangs ends too. */
const deadlineMs = 120_000;

const paint: Paint = (style, text) => styleText(style, text, { stream: process.stdout });

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options === undefined) return 2;
  if (existsSync(options.dir)) {
    console.error(
      `demo: ${options.dir} exists: "${artifacts.command} lab down --dir ${options.dir}" removes what an earlier demo left`,
    );
    return 1;
  }
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    // Not once: taking the lab away is bounded, and is not to be cut short by impatience.
    process.on(name, () => controller.abort(new Error(`stopped by ${name}`)));
  }
  // Its reader went away (`| head`): nobody is told any more, but the lab must not stay.
  process.stdout.on("error", (error) => controller.abort(error));
  const startedAt = performance.now();
  const seconds = (): string => ((performance.now() - startedAt) / 1000).toFixed(1);
  try {
    const claims = await tell({
      directory: options.dir,
      manifests: `${artifacts.conf}/demo`,
      keep: options.keep,
      report: (line) => console.log(`${seconds().padStart(5)} s  ${line}`),
      show: (title, table) => console.log(`\n${paint("bold", title)}\n${table}`),
      signal: AbortSignal.any([controller.signal, AbortSignal.timeout(deadlineMs)]),
    });
    return conclude(claims, seconds(), options);
  } catch (error) {
    console.error(`demo: ${describeError(error)}`);
    return 1;
  }
}

function conclude(claims: readonly Claim[], seconds: string, { keep, dir }: Options): number {
  const failed = claims.filter(({ isTrue }) => !isTrue).length;
  console.log(`\n${formatClaims(claims, paint)}`);
  if (keep) {
    console.log(`The lab is still up: ${artifacts.command} lab exec --dir ${dir} web-0 -- sh`);
    console.log(`Take it away with:   ${artifacts.command} lab down --dir ${dir}`);
  }
  console.log(
    failed === 0
      ? paint("green", `all ${claims.length} claims are true, in ${seconds} s`)
      : paint("red", `${failed} of ${claims.length} claims FAILED, in ${seconds} s`),
  );
  return failed === 0 ? 0 : 1;
}

interface Options {
  readonly keep: boolean;
  readonly dir: string;
}

function readOptions(args: readonly string[]): Options | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        keep: { type: "boolean", default: false },
        dir: { type: "string", default: "/run/fairlead-demo" },
      },
    });
    return values;
  } catch (error) {
    console.error(`demo: ${describeError(error)}\n${usage}`);
    return undefined;
  }
}
