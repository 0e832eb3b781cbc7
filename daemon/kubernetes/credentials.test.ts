import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Clock } from "../../core/clock.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { ApiAccess, ExecPlugin } from "./access.ts";
import { CredentialStore } from "./credentials.ts";
import { inClusterAccess } from "./in-cluster.ts";

const common: ApiAccess = { where: "test", server: "https://192.0.2.1", isInsecure: false };

function open(access: Partial<ApiAccess>, clock: Partial<Clock> = {}) {
  const whole = { nowMs: () => 0, monotonicMs: () => 0, ...clock };
  const store = new CredentialStore(whole);
  onTestFinished(() => store[Symbol.dispose]());
  return {
    current: () => store.current({ ...common, ...access }),
    refused: () => store.refused(),
  };
}

/** A program that counts its runs and prints what the test wants. */
function plugin(output: string, more: Partial<ExecPlugin> = {}) {
  const directory = temporaryDirectory();
  const [command, runs] = [join(directory, "plugin"), join(directory, "runs")];
  const set = (text: string): void => writeFileSync(join(directory, "output"), text);
  set(output);
  writeFileSync(
    command,
    `#!/bin/sh\necho "$KUBERNETES_EXEC_INFO $X" >>${runs}\ncat ${directory}/output\n`,
  );
  chmodSync(command, 0o755);
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command,
    args: [],
    env: { X: "of-the-kubeconfig" },
    provideClusterInfo: true,
    ...more,
  };
  return { exec, set, runs: () => readFileSync(runs, "utf8").trim().split("\n") };
}

const credential = (status: object): string => JSON.stringify({ kind: "ExecCredential", status });

test("takes over what was rotated on the disk", async () => {
  const path = join(temporaryDirectory(), "token");
  writeFileSync(path, "one\n");
  const store = open({ token: { kind: "file", path }, ca: { kind: "text", text: "CA" } });
  const first = { headers: { authorization: "Bearer one" }, tls: { ca: "CA" } };
  expect(await store.current()).toEqual(first);
  writeFileSync(path, "two\n");
  expect((await store.current()).headers).toEqual({ authorization: "Bearer two" });
});

test("names a file that is not there", async () => {
  const store = open({ token: { kind: "file", path: "/nowhere/token" } });
  await expect(store.current()).rejects.toThrow("Cannot read the token /nowhere/token");
});

test("asks a plugin once, until what it gave ends or is refused", async () => {
  const expirationTimestamp = "1970-01-01T01:00:00Z";
  const { exec, set, runs } = plugin(credential({ token: "a", expirationTimestamp }));
  let nowMs = 0;
  const store = open({ exec }, { nowMs: () => nowMs });
  const all = await Promise.all([store.current(), store.current(), store.current()]);
  expect(all.map(({ headers }) => headers["authorization"])).toEqual(Array(3).fill("Bearer a"));
  expect(runs()).toHaveLength(1);
  expect(runs()[0]).toContain('"server":"https://192.0.2.1"');
  expect(runs()[0]).toMatch(/ of-the-kubeconfig$/);
  nowMs = 3_589_000;
  await store.current();
  expect(runs()).toHaveLength(1);
  nowMs = 3_595_000;
  set(credential({ clientCertificateData: "CERT", clientKeyData: "KEY" }));
  expect(await store.current()).toEqual({ headers: {}, tls: { cert: "CERT", key: "KEY" } });
  await store.current();
  expect(runs()).toHaveLength(2);
  store.refused();
  await store.current();
  expect(runs()).toHaveLength(3);
});

test.each([
  ["no json", "expected an ExecCredential in JSON"],
  [credential({}), "expected a token or a certificate with its key"],
  ['{"kind":"Other"}', "kind is not as an ExecCredential has it"],
])("names a plugin that prints %s", async (output, message) => {
  const store = open({ exec: plugin(output).exec });
  await expect(store.current()).rejects.toThrow(message);
});

test("names a plugin that is missing, with what the kubeconfig says about that", async () => {
  const { exec } = plugin("", { command: "/nowhere/login", installHint: "get it from IT" });
  await expect(open({ exec }).current()).rejects.toThrow(
    /the credential plugin \/nowhere\/login: .*ENOENT.* \(get it from IT\)/,
  );
});

test("a pod's service account is in its usual place, or this is no pod", () => {
  const directory = temporaryDirectory();
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
  expect(() => inClusterAccess(env, directory)).toThrow("expected cluster.kubernetes.kubeconfig");
  writeFileSync(join(directory, "token"), "t");
  expect(() => inClusterAccess({}, directory)).toThrow("this is no pod");
  expect(inClusterAccess(env, directory)).toMatchObject({
    server: "https://[fd00::1]:443",
    token: { kind: "file", path: join(directory, "token") },
    ca: { kind: "file", path: join(directory, "ca.crt") },
  });
});
