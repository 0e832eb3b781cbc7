// The fixed places on a node. A lab node has them inside its own mount namespace,
// so nothing but a test ever needs to say otherwise.
export const paths = {
  config: "/etc/fairlead/fairlead.yaml",
  cluster: "/etc/fairlead/cluster.d",
  cniConfDir: "/etc/cni/net.d",
  cniBinDir: "/opt/cni/bin",
  conflist: "10-fairlead.conflist",
  run: "/run/fairlead",
  cniSocket: "/run/fairlead/cni.sock",
  statusSocket: "/run/fairlead/status.sock",
  /** Where the resolver says how it comes to an answer. */
  dnsSocket: "/run/fairlead/dns.sock",
  /** Where the next daemon asks this one for its sockets. */
  handOverSocket: "/run/fairlead/hand-over.sock",
  nodeFacts: "/run/fairlead/node.json",
  attachments: "/run/fairlead/attachments",
  attachLock: "/run/fairlead/attach.lock",
  /** Held while a daemon runs: there is one on a node. */
  daemonLock: "/run/fairlead/daemon.lock",
  /** One directory per network, in host-local's layout. */
  leases: "/var/lib/cni/networks",
  state: "/var/lib/fairlead",
  /** One journal per network: what the lease files cannot carry. */
  leaseJournals: "/var/lib/fairlead/leases",
  /** One file per network: the addresses that pods get again by name. */
  stickyAddresses: "/var/lib/fairlead/sticky",
  /** Leases taken over from other networks, until their pods have ended. */
  adoptedLeases: "/var/lib/fairlead/adopted.json",
  /** Kernel settings as they were before fairlead changed them first. */
  sysctls: "/var/lib/fairlead/sysctls.json",
  /** The cluster as this node last knew it, where a server tells. */
  clusterCopy: "/var/lib/fairlead/cluster.jsonl",
  /** Id of the boot that the daemon last ran in. */
  lastBoot: "/var/lib/fairlead/boot-id",
  /** Which cluster's etcd this node has joined. */
  clusterId: "/var/lib/fairlead/etcd-cluster",
  /** One file per service of which this node publishes endpoints. */
  services: "/var/lib/fairlead/services",
  machineId: "/etc/machine-id",
  /** Who has which block, where the nodes share a file system. */
  claims: "/var/lib/fairlead/claims",
  bootId: "/proc/sys/kernel/random/boot_id",
} as const;

/** The same places, for a test elsewhere. */
export type Paths = Readonly<Record<keyof typeof paths, string>>;
