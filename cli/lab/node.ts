// A node of the lab: the machine's file system with a few places of its own, so that every path
// fairlead has on a real node (core/paths.ts) is the same inside, and the machine's is untouched.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { stringify } from "yaml";
import { paths } from "../../core/paths.ts";
import { createMember, type Member } from "./member.ts";
import { nodeInterface, type Topology } from "./topology.ts";

// Empty at first, and plain directories of the lab seen from outside: what is in them can be read
// (leases, records, conflist) without entering. The rest of /etc, /var/lib and /opt is the machine's
// under a layer that takes what is written.
const ownPlaces = [
  "/etc/fairlead",
  "/etc/cni",
  "/var/lib/cni",
  "/var/lib/fairlead",
  "/opt/cni",
  "/run",
] as const;
const layered = ["etc", "var/lib", "opt"] as const;

/** Where a node's file is for us. Paths in no place of its own are the machine's. */
export function outsidePath(node: Member, path: string): string {
  const isOwn = ownPlaces.some((place) => path === place || path.startsWith(`${place}/`));
  return isOwn ? join(node.directory, "root", path) : path;
}

export interface NodeSetup {
  readonly lab: string;
  /** Manifests, seen as /etc/fairlead/cluster.d. */
  readonly cluster: string;
  /** Lines of /etc/resolv.conf. */
  readonly resolvConf: readonly string[];
  /** Path → text, in the node's own places. */
  readonly files: Readonly<Record<string, string>>;
}

export async function createNode(
  node: Member,
  { lab, cluster, resolvConf, files }: NodeSetup,
  signal: AbortSignal,
): Promise<void> {
  await createMember(
    node,
    {
      origin: { kind: "machine", lab },
      script: nodeScript,
      args: [`members/${node.name}`, relative(lab, cluster), `${resolvConf.join("\n")}\n`],
    },
    signal,
  );
  for (const [path, text] of Object.entries(files)) {
    const file = outsidePath(node, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

/** The files of a node that runs fairlead: its daemon's configuration. */
export const nodeFiles = (
  name: string,
  { outside }: Topology,
  etcdEndpoints?: readonly string[],
): Record<string, string> => ({
  [paths.config]: stringify({
    nodeName: name,
    ...(etcdEndpoints && { cluster: { source: "etcd", etcd: { endpoints: etcdEndpoints } } }),
    network: { interface: nodeInterface },
    dns: { upstreams: [outside.address] },
  }),
});

const nodeScript = `
own=$lab/$1 cluster=$lab/$2 resolv_conf=$3
for dir in ${layered.join(" ")}; do
  layer="$own/layers/$dir"
  mkdir -p "$layer/upper" "$layer/work"
  mount -n -t overlay -o "lowerdir=/$dir,upperdir=$layer/upper,workdir=$layer/work" overlay "/$dir"
done
for dir in ${ownPlaces.join(" ")}; do
  mkdir -p "$dir" "$own/root$dir"
  mount -n --bind "$own/root$dir" "$dir"
done
mkdir -p /run/lock /etc/fairlead/cluster.d
mount -n --bind "$cluster" /etc/fairlead/cluster.d
rm -f /etc/resolv.conf /etc/hosts /etc/hostname /etc/machine-id
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
printf %s "$resolv_conf" >/etc/resolv.conf
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$name" >/etc/hosts
echo "$name" >/etc/hostname`;
