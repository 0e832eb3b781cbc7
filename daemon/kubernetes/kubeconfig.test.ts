import { expect, test } from "vitest";
import { parseKubeconfig } from "./kubeconfig.ts";

const data = (text: string): string => Buffer.from(text).toString("base64");
const config = (user: string, cluster = "server: https://192.0.2.1:6443/"): string => `
apiVersion: v1
kind: Config
current-context: here
contexts:
  - { name: there, context: { cluster: b, user: b } }
  - { name: here, context: { cluster: a, user: a } }
clusters:
  - { name: b, cluster: { server: https://198.51.100.1 } }
  - { name: a, cluster: { ${cluster} } }
users:
  - { name: a, user: { ${user} } }
`;
const parse = (text: string) => parseKubeconfig(text, "/etc/kubernetes/fairlead.conf");
const common = {
  where: "/etc/kubernetes/fairlead.conf",
  server: "https://192.0.2.1:6443",
  isInsecure: false,
};

test("takes the cluster and the user of the current context", () => {
  expect(parse(config("token: secret"))).toEqual({
    ...common,
    token: { kind: "text", text: "secret" },
  });
});

test("takes certificates as data, and before files of the same", () => {
  const user = `client-certificate-data: ${data("CERT")}, client-certificate: x.pem, client-key-data: ${data("KEY")}`;
  const cluster = `server: "https://a.example", certificate-authority-data: ${data("CA")}, tls-server-name: b.example`;
  expect(parse(config(user, cluster))).toEqual({
    ...common,
    server: "https://a.example",
    ca: { kind: "text", text: "CA" },
    serverName: "b.example",
    certificate: { cert: { kind: "text", text: "CERT" }, key: { kind: "text", text: "KEY" } },
  });
});

test("takes files beside the kubeconfig, and a token's file before the token", () => {
  const user =
    "client-certificate: pki/a.pem, client-key: /k/a.key, token: old, tokenFile: ../token";
  const access = parse(config(user, "server: https://a.example, certificate-authority: ca.pem"));
  expect(access).toMatchObject({
    ca: { kind: "file", path: "/etc/kubernetes/ca.pem" },
    certificate: {
      cert: { kind: "file", path: "/etc/kubernetes/pki/a.pem" },
      key: { kind: "file", path: "/k/a.key" },
    },
    token: { kind: "file", path: "/etc/token" },
  });
});

test("takes an exec plugin", () => {
  const exec =
    "exec: { apiVersion: client.authentication.k8s.io/v1, command: ./login, args: [a], env: [{ name: A, value: b }], interactiveMode: Never, installHint: get it }";
  expect(parse(config(exec)).exec).toEqual({
    apiVersion: "client.authentication.k8s.io/v1",
    command: "/etc/kubernetes/login",
    args: ["a"],
    env: { A: "b" },
    installHint: "get it",
    provideClusterInfo: false,
  });
});

test.each([
  ["", ":1: Cannot find current-context"],
  ["a: [", ":1: Cannot parse YAML"],
  [
    config("").replace("current-context: here", "current-context: nowhere"),
    ':4: Cannot use current-context "nowhere": expected the name of one of the contexts',
  ],
  [
    config("").replace("name: a, user", "name: c, user"),
    ':7: Cannot use user "a": expected the name of one of the users',
  ],
  [config("", "server: a.example"), 'server "a.example": expected a URL of http or https'],
  [
    config("client-key: a.key"),
    "Cannot find client-certificate: expected a certificate and its key",
  ],
  [config("username: u, password: p"), "Cannot use username: expected a token"],
  [config("auth-provider: { name: gcp }"), "Cannot use auth-provider"],
  [config("", "server: https://a, proxy-url: http://p"), 'Cannot use proxy-url "http://p"'],
  [
    config("exec: { apiVersion: client.authentication.k8s.io/v1alpha1, command: x }"),
    'exec.apiVersion "client.authentication.k8s.io/v1alpha1": expected client.authentication.k8s.io/v1 or',
  ],
])("refuses %j", (text, message) => {
  expect(() => parse(text)).toThrow(message);
  expect(() => parse(text)).toThrow("/etc/kubernetes/fairlead.conf");
});
