import { apiWorld } from "../support/api-world.ts";
import { afterAll, beforeAll } from "vitest";
import { type EtcdServer, startEtcd } from "../support/etcd.ts";
import { etcdWorld } from "../support/etcd-world.ts";
import { realApiWorld } from "../support/real-api-world.ts";
import { fileWorld } from "../support/file-world.ts";
import { describeSource } from "../support/source-contract.ts";

describeSource("a directory of files", fileWorld);
const kubeconfig = process.env["FAIRLEAD_TEST_KUBECONFIG"];
describeSource(
  kubeconfig === undefined ? "the Kubernetes API" : "a real Kubernetes API",
  kubeconfig === undefined ? apiWorld : () => realApiWorld(kubeconfig),
  { refusesInvalid: kubeconfig !== undefined },
);

let etcd: EtcdServer;
beforeAll(async () => {
  etcd = await startEtcd();
});
afterAll(() => etcd[Symbol.asyncDispose]());
describeSource("etcd", () => etcdWorld(etcd));
