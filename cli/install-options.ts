export interface InstallOptions {
  readonly root?: string;
  readonly home?: string;
  readonly cniBin?: string;
  readonly cniConf?: string;
  readonly json?: boolean;
}

export interface UninstallOptions extends Pick<InstallOptions, "root" | "home" | "json"> {
  readonly force?: boolean;
}

/** Where things go unless the options say otherwise. */
export const installDefaults = {
  root: "/",
  home: "/usr/lib/fairlead",
  cniBin: "/opt/cni/bin",
  cniConf: "/etc/cni/net.d",
} as const;
