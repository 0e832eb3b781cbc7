// A kubeconfig → how the API is reached (Kubernetes: "Organizing Cluster Access Using kubeconfig Files",
// client.authentication.k8s.io for plugins). What this version cannot do is named, never passed over.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import * as v from "valibot";
import { ConfigError } from "../../core/error.ts";
import { type Problem, validate } from "../files/validate.ts";
import { formatValue, parseYaml, type Path, type YamlDocument } from "../files/yaml-file.ts";
import type { ApiAccess, ExecPlugin, Material } from "./access.ts";

const text = v.string("text");
const maybe = v.exactOptional;

const clusterSchema = v.object({
  server: v.pipe(
    text,
    v.check((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? ""), "a URL of http or https"),
  ),
  "certificate-authority": maybe(text),
  "certificate-authority-data": maybe(text),
  "insecure-skip-tls-verify": v.optional(v.boolean("true or false"), false),
  "tls-server-name": maybe(text),
  "proxy-url": maybe(text),
});

const execSchema = v.object({
  apiVersion: v.picklist(
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"],
    "client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1",
  ),
  command: text,
  args: v.optional(v.array(text, "a list"), []),
  env: v.optional(v.array(v.object({ name: text, value: text }), "a list"), []),
  installHint: maybe(text),
  provideClusterInfo: v.optional(v.boolean("true or false"), false),
  interactiveMode: maybe(text),
});

const userSchema = v.object({
  token: maybe(text),
  tokenFile: maybe(text),
  "client-certificate": maybe(text),
  "client-certificate-data": maybe(text),
  "client-key": maybe(text),
  "client-key-data": maybe(text),
  username: maybe(text),
  password: maybe(text),
  exec: maybe(execSchema),
  "auth-provider": maybe(v.unknown()),
  as: maybe(text),
});

const kubeconfigSchema = v.object({
  kind: v.optional(v.literal("Config", "Config"), "Config"),
  "current-context": text,
  contexts: v.optional(
    v.array(v.object({ name: text, context: v.object({ cluster: text, user: text }) }), "a list"),
    [],
  ),
  clusters: v.optional(v.array(v.object({ name: text, cluster: clusterSchema }), "a list"), []),
  users: v.optional(
    v.array(v.object({ name: text, user: v.optional(userSchema, {}) }), "a list"),
    [],
  ),
});

type Cluster = v.InferOutput<typeof clusterSchema>;
type User = v.InferOutput<typeof userSchema>;

/** Throws ConfigError naming the file, and each problem in it with its line. */
export function readKubeconfig(path: string): ApiAccess {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigError(path, "Cannot read the kubeconfig", { cause });
  }
  return parseKubeconfig(content, path);
}

/** As {@link readKubeconfig}, of a text. Relative paths in it begin at the file's directory. */
export function parseKubeconfig(content: string, path: string): ApiAccess {
  const { documents, problems } = parseYaml(content);
  const [document = { value: {}, lineOf: () => 1 }] = documents;
  if (problems.length > 0) throw wrong(path, problems);
  const checked = validate(kubeconfigSchema, document, document.value);
  if (checked.kind === "invalid") throw wrong(path, checked.problems);
  const { contexts, clusters, users, "current-context": current } = checked.value;
  const refuse = (at: Path, value: unknown, expected: string): never => {
    const message = `Cannot use ${String(at.at(-1))} ${formatValue(value)}: expected ${expected}`;
    throw wrong(path, [{ line: document.lineOf(at), message }]);
  };
  const context =
    contexts.find(({ name }) => name === current)?.context ??
    refuse(["current-context"], current, "the name of one of the contexts");
  const atContext: Path = [
    "contexts",
    contexts.findIndex(({ name }) => name === current),
    "context",
  ];
  const cluster =
    clusters.find(({ name }) => name === context.cluster)?.cluster ??
    refuse([...atContext, "cluster"], context.cluster, "the name of one of the clusters");
  const user =
    users.find(({ name }) => name === context.user)?.user ??
    refuse([...atContext, "user"], context.user, "the name of one of the users");
  const unusable = unusableOf(cluster, user);
  if (unusable !== undefined)
    throw wrong(path, [{ line: lineOfUser(document), message: unusable }]);
  return accessOf(path, cluster, user);
}

const lineOfUser = (document: YamlDocument): number => document.lineOf(["users"]);

/** What would be ignored, and must not be. */
function unusableOf(cluster: Cluster, user: User): string | undefined {
  if (cluster["proxy-url"] !== undefined) {
    return `Cannot use proxy-url ${formatValue(cluster["proxy-url"])}: expected a server that is reached without a proxy`;
  }
  if (user["auth-provider"] !== undefined) {
    return "Cannot use auth-provider: expected a token, a client certificate or exec";
  }
  if (user.username !== undefined) {
    return "Cannot use username: expected a token, a client certificate or exec";
  }
  if (user.as !== undefined) return "Cannot use as: expected a user of its own";
  const hasCert = user["client-certificate"] ?? user["client-certificate-data"];
  const hasKey = user["client-key"] ?? user["client-key-data"];
  if ((hasCert === undefined) !== (hasKey === undefined)) {
    const missing = hasCert === undefined ? "client-certificate" : "client-key";
    return `Cannot find ${missing}: expected a certificate and its key`;
  }
  return undefined;
}

function accessOf(path: string, cluster: Cluster, user: User): ApiAccess {
  const at = (file: string): string => resolve(dirname(path), file);
  const material = (data: string | undefined, file: string | undefined): Material | undefined => {
    // Data comes before a file that is named as well.
    if (data !== undefined) {
      return { kind: "text", text: Buffer.from(data, "base64").toString("utf8") };
    }
    return file === undefined ? undefined : { kind: "file", path: at(file) };
  };
  const ca = material(cluster["certificate-authority-data"], cluster["certificate-authority"]);
  const cert = material(user["client-certificate-data"], user["client-certificate"]);
  const key = material(user["client-key-data"], user["client-key"]);
  const token = tokenOf(user, at);
  return {
    where: path,
    server: cluster.server.replace(/\/+$/, ""),
    isInsecure: cluster["insecure-skip-tls-verify"],
    ...(ca !== undefined && { ca }),
    ...(cluster["tls-server-name"] !== undefined && { serverName: cluster["tls-server-name"] }),
    ...(token !== undefined && { token }),
    ...(cert !== undefined && key !== undefined && { certificate: { cert, key } }),
    ...(user.exec !== undefined && { exec: pluginOf(user.exec, path) }),
  };
}

function tokenOf({ token, tokenFile }: User, at: (file: string) => string): Material | undefined {
  // A file that is named as well comes first: it may be rotated.
  if (tokenFile !== undefined) return { kind: "file", path: at(tokenFile) };
  return token === undefined ? undefined : { kind: "text", text: token };
}

function pluginOf(exec: v.InferOutput<typeof execSchema>, path: string): ExecPlugin {
  const { command, env, interactiveMode: _, ...rest } = exec;
  return {
    ...rest,
    // A path with a slash begins at the kubeconfig; a name is looked up in PATH.
    command: command.includes("/") ? resolve(dirname(path), command) : command,
    env: Object.fromEntries(env.map(({ name, value }) => [name, value])),
  };
}

const wrong = (path: string, problems: readonly Problem[]): ConfigError => {
  const [only = { line: 1, message: "nothing in it" }] = problems;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return new ConfigError(`${path}:${only.line}`, `${only.message}${more}`);
};
