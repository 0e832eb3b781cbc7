import { apiWorld } from "../support/api-world.ts";
import { afterAll, beforeAll } from "vitest";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";
import { etcdWorld } from "../support/etcd-world.ts";
import { fileWorld } from "../support/file-world.ts";
import { describeSource } from "../support/source-contract.ts";

describeSource("a directory of files", fileWorld);
describeSource("the Kubernetes API", apiWorld);

let etcd: EtcdServer;
beforeAll(async () => {
  etcd = await startEtcd();
});
afterAll(() => etcd[Symbol.asyncDispose]());
describeSource("etcd", () => etcdWorld(etcd));
