import { expect, test } from "vitest";
import { parseCniArgs } from "./args.ts";
import { CniCode } from "./error.ts";

const parse = (text: string) => Object.fromEntries(parseCniArgs(text));
const k8s = {
  IgnoreUnknown: "1",
  K8S_POD_NAMESPACE: "default",
  K8S_POD_NAME: "web-0",
  K8S_POD_INFRA_CONTAINER_ID: "a51debf7e1eb",
  K8S_POD_UID: "9a3b",
};
const joined = (pairs: readonly (readonly string[])[]) =>
  pairs.map((pair) => pair.join("=")).join(";");

test.each([
  ["args-01", "", {}],
  ["args-02", "IgnoreUnknown=True;Unk=nown", { IgnoreUnknown: "True", Unk: "nown" }],
  ["args-04", "IgnoreUnknown=0;Unk=nown", { IgnoreUnknown: "0", Unk: "nown" }],
  ["args-05", "Unk=nown;IgnoreUnknown=1", { Unk: "nown", IgnoreUnknown: "1" }],
  ["args-08", "IP=10.0.0.0", { IP: "10.0.0.0" }],
  ["args-10", "IgnoreUnknown=1;foo", { IgnoreUnknown: "1" }],
  ["args-11", 'A={"x":"y=z"}', { A: '{"x":"y=z"}' }],
  ["args-13", "ip=10.1.2.3", { ip: "10.1.2.3" }],
  ["args-14", joined(Object.entries(k8s)), k8s],
  ["args-14, the other way round", joined(Object.entries(k8s).reverse()), k8s],
  ["empty pieces", ";;A=1;;", { A: "1" }],
  ["an empty value, and an empty key", "A=;=b", { A: "" }],
  ["a repeated key", "A=1;A=2", { A: "2" }],
])("parseCniArgs() takes %s", (_, text, expected) => expect(parse(text)).toEqual(expected));

test("parseCniArgs() refuses an IgnoreUnknown that is no boolean (args-07)", () => {
  expect(() => parse("IgnoreUnknown=invalid")).toThrow(
    expect.objectContaining({
      code: CniCode.invalidEnvironment,
      message: 'Invalid IgnoreUnknown "invalid" in CNI_ARGS: expected 1, true, 0 or false',
    }),
  );
});
