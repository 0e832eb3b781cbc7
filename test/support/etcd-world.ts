// The etcd source's place: a prefix of a real etcd, reached through a relay that can be cut.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { silentLog } from "../../core/log.ts";
import { EtcdClient } from "../../daemon/etcd/client.ts";
import { openEtcdSource } from "../../daemon/etcd/etcd-source.ts";
import { keyOfObject, keysUnder } from "../../daemon/etcd/keys.ts";
import type { Write } from "../../daemon/etcd/messages.ts";
import { objectKeyOf } from "../../daemon/source/cluster-object.ts";
import { systemClock } from "../../kernel/clock.ts";
import { systemRandom } from "../../kernel/random.ts";
import type { EtcdServer } from "./etcd.ts";
import type { KubernetesObject, SourceWorld } from "./source-world.ts";

const retry = { firstMs: 10, mostMs: 100 };
const timing = { connectMs: 2000, callMs: 2000, pingEveryMs: 0 };
let worlds = 0;

export async function etcdWorld(server: EtcdServer): Promise<SourceWorld> {
  const prefix = `/world-${worlds++}`;
  const keys = keysUnder(prefix);
  const stack = new AsyncDisposableStack();
  const direct = stack.use(new EtcdClient({ endpoints: [server.endpoint] }));
  const relay = stack.use(await openRelay(Number(new URL(server.endpoint).port)));
  const write = async (writes: readonly Write[]): Promise<void> => {
    // One by one, as many writers would.
    for (const one of writes) await direct.transact([], [one], AbortSignal.timeout(20_000));
  };
  const keyOf = ({ kind, metadata }: KubernetesObject): string =>
    keyOfObject(objectKeyOf(kind, metadata), keys);
  return {
    open: () => {
      const client = new EtcdClient({ endpoints: [relay.endpoint] }, timing);
      const source = openEtcdSource({
        client,
        prefix,
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
        retry,
      });
      stack.use(client);
      return source;
    },
    put: (...objects) =>
      write(
        objects.map((object) => ({
          kind: "put",
          key: keyOf(object),
          value: JSON.stringify(object),
        })),
      ),
    remove: (...objects) =>
      write(objects.map((object) => ({ kind: "delete", key: keyOf(object) }))),
    goAway: async () => relay.cut(),
    comeBack: () => relay.mend(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export interface Relay extends Disposable {
  readonly endpoint: string;
  cut(): void;
  mend(): Promise<void>;
}

/** To a port of this machine. */
export async function openRelay(port: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
  };
  const relay = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    keep(near);
    keep(far);
    near.pipe(far).pipe(near);
    near.once("close", () => far.destroy());
    far.once("close", () => near.destroy());
  });
  const listen = async (at: number, server: Server): Promise<number> => {
    server.listen(at, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return address === null || typeof address === "string" ? 0 : address.port;
  };
  const own = await listen(0, relay);
  const cut = (): void => {
    relay.close();
    for (const socket of sockets) socket.destroy();
  };
  return {
    endpoint: `http://127.0.0.1:${own}`,
    cut,
    mend: async () => void (await listen(own, relay)),
    [Symbol.dispose]: cut,
  };
}
