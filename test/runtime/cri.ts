// kubelet's side of the Container Runtime Interface: the few calls of runtime.v1 that make and end a
// pod. Field numbers are those of k8s.io/cri-api, pkg/apis/runtime/v1/api.proto.
import { connect } from "node:net";
import { openGrpc } from "../../daemon/grpc/channel.ts";
import { encodeMessage, type Fields, Message } from "../../daemon/grpc/protobuf.ts";

export interface PodSandboxConfig {
  readonly name: string;
  readonly namespace: string;
  readonly dns?: {
    readonly servers: string[];
    readonly searches: string[];
    readonly options: string[];
  };
  readonly portMappings?: readonly {
    readonly protocol: "tcp" | "udp";
    readonly containerPort: number;
    readonly hostPort: number;
  }[];
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface PodSandbox {
  readonly id: string;
  readonly name: string;
  readonly isReady: boolean;
}

export interface Cri extends Disposable {
  /** Each condition of Status: whether it holds, and what is said of it. */
  status(): Promise<
    Readonly<Record<string, { readonly holds: boolean; readonly message: string }>>
  >;
  /** Resolves with the sandbox's id. */
  runPodSandbox(config: PodSandboxConfig): Promise<string>;
  stopPodSandbox(id: string): Promise<void>;
  removePodSandbox(id: string): Promise<void>;
  podSandboxes(): Promise<PodSandbox[]>;
  /** Its addresses, the first one first. */
  podAddresses(id: string): Promise<string[]>;
  /** Creates and starts a container in the sandbox; resolves with its id. */
  runContainer(
    sandbox: string,
    config: PodSandboxConfig,
    container: ContainerConfig,
  ): Promise<string>;
  /** Never throws for the command's own exit status. */
  exec(container: string, ...command: string[]): Promise<{ status: number; output: string }>;
}

export interface ContainerConfig {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
}

const execTimeoutS = 10;

export function openCri(socketPath: string): Cri {
  const client = openGrpc("http://localhost", { createConnection: () => connect(socketPath) });
  const call = async (method: string, request: Fields): Promise<Message> =>
    new Message(await client.call(`/runtime.v1.RuntimeService/${method}`, encodeMessage(request)));
  return {
    status: async () => {
      const conditions = (await call("Status", {})).message(1).messages(1);
      return Object.fromEntries(
        conditions.map((condition) => [
          condition.text(1),
          { holds: condition.integer(2) === 1, message: condition.text(4) },
        ]),
      );
    },
    runPodSandbox: async (config) =>
      (await call("RunPodSandbox", { 1: encodeSandboxConfig(config) })).text(1),
    stopPodSandbox: async (id) => void (await call("StopPodSandbox", { 1: id })),
    removePodSandbox: async (id) => void (await call("RemovePodSandbox", { 1: id })),
    podSandboxes: async () =>
      (await call("ListPodSandbox", {})).messages(1).map((sandbox) => ({
        id: sandbox.text(1),
        name: sandbox.message(2).text(1),
        isReady: sandbox.integer(3) === 0,
      })),
    podAddresses: async (id) => {
      const network = (await call("PodSandboxStatus", { 1: id })).message(1).message(5);
      return [network.text(1), ...network.messages(2).map((more) => more.text(1))];
    },
    runContainer: async (sandbox, config, { name, image, command }) => {
      const created = await call("CreateContainer", {
        1: sandbox,
        2: { 1: { 1: name }, 2: { 1: image }, 3: command },
        3: encodeSandboxConfig(config),
      });
      await call("StartContainer", { 1: created.text(1) });
      return created.text(1);
    },
    exec: async (container, ...command) => {
      const response = await call("ExecSync", { 1: container, 2: command, 3: execTimeoutS });
      return { status: response.integer(3), output: response.text(1) + response.text(2) };
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

const protocols = { tcp: 0, udp: 1 } as const;

function encodeSandboxConfig(config: PodSandboxConfig): Fields {
  const { name, namespace, dns, portMappings = [], annotations = {} } = config;
  return {
    1: { 1: name, 2: `uid-of-${name}`, 3: namespace },
    2: name,
    4: dns === undefined ? undefined : { 1: dns.servers, 2: dns.searches, 3: dns.options },
    5: portMappings.map(({ protocol, containerPort, hostPort }) => ({
      1: protocols[protocol],
      2: containerPort,
      3: hostPort,
    })),
    7: new Map(Object.entries(annotations)),
    8: {},
  };
}
