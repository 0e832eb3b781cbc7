import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { formatRecord, installedLayout, installLayout } from "./install-layout.ts";

test("installLayout() has the usual places, and others on request", () => {
  expect(installLayout({})).toMatchObject({
    root: "/",
    homes: "/usr/lib/fairlead",
    current: "/usr/lib/fairlead/current",
    launchers: ["/opt/cni/bin/fairlead", "/opt/cni/bin/fairlead-ipam"],
    cniConf: "/etc/cni/net.d",
  });
  expect(installLayout({ root: "/x", home: "opt/f", cniBin: "/usr/lib/cni" })).toMatchObject({
    root: "/x",
    current: "/opt/f/current",
    launchers: ["/usr/lib/cni/fairlead", "/usr/lib/cni/fairlead-ipam"],
  });
});

test("installedLayout() remembers what was asked for, and says when it cannot", () => {
  const root = mkdtempSync(join(tmpdir(), "fairlead-layout-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  expect(installedLayout({ root })).toEqual(installLayout({ root }));
  const layout = installLayout({ root, cniBin: "/usr/libexec/cni", cniConf: "/etc/other" });
  const record = join(root, layout.current, "installed.json");
  mkdirSync(join(root, layout.current), { recursive: true });
  writeFileSync(record, formatRecord(layout));
  expect(installedLayout({ root })).toEqual(layout);
  writeFileSync(record, "{}");
  expect(() => installedLayout({ root })).toThrow(`Cannot read ${record}`);
});
