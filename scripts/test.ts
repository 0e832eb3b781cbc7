// ./run test [FILE…]: the three kinds of tests, then how many rows of the CNI protocol and its reference
// plugins passed, and one closing line that CI reads: `N passed, N failed`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RowTest, rowLines } from "../test/cni/rows.ts";

/** The fields we read of vitest's JSON report (vitest.dev, "JSON Reporter"). */
interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

const files = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), "fairlead-test-"));
const total = { passed: 0, failed: 0, skipped: 0 };
const ran: RowTest[] = [];

for (const project of ["unit", "contract", "lab"]) {
  const outputFile = join(directory, `${project}.json`);
  console.log(`\n== ${project} tests`);
  const { status } = spawnSync(
    "node_modules/.bin/vitest",
    [
      "run",
      ...files,
      "--project",
      project,
      "--passWithNoTests",
      "--silent=passed-only",
      project === "unit" ? "--reporter=dot" : "--reporter=verbose",
      "--reporter=json",
      `--outputFile.json=${outputFile}`,
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  const report = readReport(outputFile);
  const failed = report?.numFailedTests ?? 0;
  total.passed += report?.numPassedTests ?? 0;
  // A run can end badly without a failed test: a file that does not load, a hook, a crash.
  total.failed += status !== 0 && failed === 0 ? 1 : failed;
  total.skipped += report?.numPendingTests ?? 0;
  for (const { assertionResults } of report?.testResults ?? []) {
    for (const { fullName, status: outcome } of assertionResults) {
      if (outcome === "passed" || outcome === "failed") {
        ran.push({ title: fullName, isPassed: outcome === "passed" });
      }
    }
  }
}

rmSync(directory, { recursive: true });
const lines = rowLines(ran);
if (lines.length > 0) console.log(`\n${lines.join("\n")}`);
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

function readReport(file: string): Report | undefined {
  try {
    const report: Report = JSON.parse(readFileSync(file, "utf8"));
    return report;
  } catch {
    return undefined;
  }
}
