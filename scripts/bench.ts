// ./run bench [NAME]: one benchmark, or all of them. Each prints a table with ratios against a named
// reference measured in the same run, and writes bench/results/NAME.json.
import { readdirSync } from "node:fs";
import { join } from "node:path";

const directory = join(import.meta.dirname, "..", "bench");
const names = readdirSync(directory)
  .filter((file) => file.endsWith(".bench.ts"))
  .map((file) => file.slice(0, -".bench.ts".length));

const [wanted] = process.argv.slice(2);
if (wanted !== undefined && !names.includes(wanted)) {
  console.error(`bench: there is no "${wanted}": expected ${names.join(", ")}`);
  process.exit(2);
}
for (const name of wanted === undefined ? names : [wanted]) {
  console.log(`== ${name}`);
  await import(join(directory, `${name}.bench.ts`));
}
