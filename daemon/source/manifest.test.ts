import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseManifest } from "./manifest.ts";

const objectsOf = (text: string) => {
  const manifest = parseManifest(text);
  if (manifest.kind === "invalid") throw new Error(JSON.stringify(manifest.problems));
  return manifest.objects.map(({ value }) => value);
};
const problemsOf = (text: string): string[] => {
  const manifest = parseManifest(text);
  return manifest.kind === "valid"
    ? []
    : manifest.problems.map(({ line, message }) => `${line}: ${message}`);
};

const node = (more: string): string =>
  `apiVersion: v1\nkind: Node\nmetadata:\n  name: node-a\n${more}`;
const slice = (more: string): string =>
  `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  namespace: demo\n  name: web-1\n  labels: { kubernetes.io/service-name: web }\naddressType: IPv4\n${more}`;

describe("parseManifest()", () => {
  test("reads a Node: its InternalIPs, one per family, and its pod CIDRs", () => {
    const text = node(`  creationTimestamp: "2026-01-31T12:00:00Z"
spec: { podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"] }
status:
  addresses:
    - { type: Hostname, address: node-a }
    - { type: ExternalIP, address: 198.51.100.7 }
    - { type: InternalIP, address: 192.0.2.1 }
    - { type: InternalIP, address: 192.0.2.2 }
    - { type: InternalIP, address: "2001:DB8::1" }
`);
    expect(objectsOf(text)).toEqual([
      {
        kind: "Node",
        object: {
          name: "node-a",
          addresses: ["192.0.2.1", "2001:db8::1"],
          podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
          createdAtMs: Date.UTC(2026, 0, 31, 12),
        },
      },
    ]);
  });

  test("reads a Node that has only podCIDR, or nothing yet", () => {
    expect(objectsOf(node("spec: { podCIDR: 10.244.1.0/24 }"))).toMatchObject([
      { object: { podCidrs: ["10.244.1.0/24"], addresses: [] } },
    ]);
    expect(objectsOf(node("spec:\nstatus:\n"))).toEqual([
      { kind: "Node", object: { name: "node-a", addresses: [], podCidrs: [] } },
    ]);
  });

  test("reads services of every kind", () => {
    const service = (name: string, spec: string): string =>
      `---\napiVersion: v1\nkind: Service\nmetadata: { name: ${name}, namespace: demo }\nspec: ${spec}\n`;
    const text = [
      service(
        "web",
        "{ clusterIP: 10.96.1.1, ports: [{ port: 80 }, { name: dns, port: 53, protocol: UDP }] }",
      ),
      service("db", "{ clusterIP: None, ports: [{ name: '', port: 5432, protocol: TCP }] }"),
      service(
        "dual",
        '{ type: NodePort, clusterIP: 10.96.1.2, clusterIPs: [10.96.1.2, "fd00::2"] }',
      ),
      service("out", "{ type: ExternalName, externalName: example.org }"),
      service("none", "{ clusterIP: '' }"),
    ].join("");
    expect(objectsOf(text).map(({ object }) => object)).toEqual([
      {
        namespace: "demo",
        name: "web",
        type: "ClusterIP",
        clusterIps: ["10.96.1.1"],
        isHeadless: false,
        ports: [
          { protocol: "tcp", port: 80 },
          { name: "dns", protocol: "udp", port: 53 },
        ],
      },
      {
        namespace: "demo",
        name: "db",
        type: "ClusterIP",
        clusterIps: [],
        isHeadless: true,
        ports: [{ protocol: "tcp", port: 5432 }],
      },
      {
        namespace: "demo",
        name: "dual",
        type: "NodePort",
        clusterIps: ["10.96.1.2", "fd00::2"],
        isHeadless: false,
        ports: [],
      },
      {
        namespace: "demo",
        name: "out",
        type: "ExternalName",
        clusterIps: [],
        isHeadless: false,
        externalName: "example.org",
        ports: [],
      },
      {
        namespace: "demo",
        name: "none",
        type: "ClusterIP",
        clusterIps: [],
        isHeadless: false,
        ports: [],
      },
    ]);
  });

  test("reads an EndpointSlice; an endpoint that says nothing is ready", () => {
    const text = slice(`ports: [{ name: http, port: 8080 }, { name: '' }]
endpoints:
  - { addresses: [10.244.1.2], hostname: db-0, nodeName: node-a, targetRef: { kind: Pod, name: web-0 } }
  - { addresses: [10.244.1.3], conditions: { ready: false }, targetRef: { kind: Node, name: n } }
  - { addresses: [10.244.1.4], conditions: { ready: } }
`);
    expect(objectsOf(text)).toEqual([
      {
        kind: "EndpointSlice",
        object: {
          namespace: "demo",
          name: "web-1",
          serviceName: "web",
          ports: [{ name: "http", protocol: "tcp", port: 8080 }, { protocol: "tcp" }],
          endpoints: [
            {
              addresses: ["10.244.1.2"],
              isReady: true,
              hostname: "db-0",
              nodeName: "node-a",
              podName: "web-0",
            },
            { addresses: ["10.244.1.3"], isReady: false },
            { addresses: ["10.244.1.4"], isReady: true },
          ],
        },
      },
    ]);
  });

  test("reads a Pod; one that has ended has no addresses", () => {
    const pod = (status: string): string =>
      `apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec: { nodeName: node-a, hostNetwork: true }\nstatus: ${status}\n`;
    expect(
      objectsOf(pod("{ podIP: 10.244.1.2, podIPs: [{ ip: 10.244.1.2 }, { ip: 'fd00::2' }] }")),
    ).toEqual([
      {
        kind: "Pod",
        object: {
          namespace: "default",
          name: "p",
          ips: ["10.244.1.2", "fd00::2"],
          nodeName: "node-a",
          isHostNetwork: true,
        },
      },
    ]);
    expect(objectsOf(pod("{ podIP: 10.244.1.2 }"))).toMatchObject([
      { object: { ips: ["10.244.1.2"] } },
    ]);
    expect(objectsOf(pod("{ phase: Failed, podIP: 10.244.1.2 }"))).toMatchObject([
      { object: { ips: [] } },
    ]);
  });

  test("reads the pool that a Pod's or a Namespace's annotation names", () => {
    const object = (kind: string, annotations: string): string =>
      `apiVersion: v1\nkind: ${kind}\nmetadata: { name: x, annotations: ${annotations} }\n`;
    const named = "{ fairlead.dev/pool: db, other: y }";
    expect(objectsOf(object("Pod", named))).toMatchObject([{ object: { pool: "db" } }]);
    expect(objectsOf(object("Namespace", named))).toMatchObject([{ object: { pool: "db" } }]);
    expect(objectsOf(object("Namespace", "{ other: y }"))).toEqual([
      { kind: "Namespace", object: { name: "x" } },
    ]);
    expect(parseManifest(object("Pod", "{ fairlead.dev/pool: 7 }"))).toMatchObject({
      kind: "invalid",
      problems: [{ line: 3, message: expect.stringContaining("7 of Pod x: expected text") }],
    });
  });

  test("takes a List apart, ignores what it has no use for, and reads JSON", () => {
    const manifest = parseManifest(
      JSON.stringify({
        apiVersion: "v1",
        kind: "List",
        items: [
          { apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" } },
          { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" } },
        ],
      }),
    );
    expect(manifest).toMatchObject({
      kind: "valid",
      objects: [{ key: "Namespace demo", value: { kind: "Namespace", object: { name: "demo" } } }],
      ignored: ["apps/v1 Deployment"],
    });
  });

  test("takes an empty file, and one of comments", () => {
    expect(objectsOf("")).toEqual([]);
    expect(objectsOf("# nothing\n---\n# more\n")).toEqual([]);
  });

  test.each(["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"])(
    "refuses the InternalIP %s: no other machine is reached at it",
    (address) => {
      const text = node(`status: { addresses: [{ type: InternalIP, address: "${address}" }] }`);
      expect(parseManifest(text)).toMatchObject({
        kind: "invalid",
        problems: [
          {
            line: 5,
            message: `Cannot use status.addresses[0].address "${address}" of Node node-a: expected an IPv4 or IPv6 address of one machine`,
          },
        ],
      });
    },
  );

  test.each([
    [
      node("status:\n  addresses:\n    - { type: InternalIP, address: 192.0.2.300 }"),
      '7: Cannot use status.addresses[0].address "192.0.2.300" of Node node-a: expected an IPv4 or IPv6 address of one machine',
    ],
    [
      node("spec:\n  podCIDRs:\n  - 10.244.1.1/24"),
      '7: Cannot use spec.podCIDRs[0] "10.244.1.1/24" of Node node-a: expected a network such as 10.244.0.0/16, without host bits',
    ],
    [
      node("spec:\n  podCIDRs: [10.244.1.0/30, 10.244.2.0/31]"),
      '6: Cannot use spec.podCIDRs[1] "10.244.2.0/31" of Node node-a: expected a network such as 10.244.0.0/16 of at most /30, or /126 for IPv6',
    ],
    [
      node("spec: { podCIDR: fd00::/127 }"),
      '5: Cannot use spec.podCIDR "fd00::/127" of Node node-a: expected a network such as 10.244.0.0/16 of at most /30, or /126 for IPv6',
    ],
    [
      node("  creationTimestamp: yesterday"),
      '5: Cannot use metadata.creationTimestamp "yesterday" of Node node-a: expected a time such as "2026-01-31T12:00:00Z"',
    ],
    [
      "apiVersion: v1\nkind: Node\nmetadata: { name: Node_A }",
      '3: Cannot use metadata.name "Node_A" of Node Node_A: expected a name of lower-case letters, digits, - and .',
    ],
    [
      "apiVersion: v1\nkind: Node\nmetadata: {}",
      "3: Cannot find metadata.name of Node without a name: expected a name of lower-case letters, digits, - and .",
    ],
    [
      "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: demo }\nspec:\n  ports:\n    - port: 80000",
      "6: Cannot use spec.ports[0].port 80000 of Service demo/web: expected a whole number from 1 to 65535",
    ],
    [
      "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [{ port: 80, protocol: HTTP }] }",
      '4: Cannot use spec.ports[0].protocol "HTTP" of Service web: expected TCP, UDP or SCTP',
    ],
    [
      "apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { clusterIP: none }",
      '4: Cannot use spec.clusterIP "none" of Service web: expected an address or None',
    ],
    [
      slice('endpoints:\n  - addresses:\n      - 10.244.1.2\n      - "fd00::2"'),
      '11: Cannot use endpoints[0].addresses[1] "fd00::2" of EndpointSlice demo/web-1: expected an IPv4 address',
    ],
    [
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: web-1 }\naddressType: IPv4",
      "3: Cannot find metadata.labels of EndpointSlice web-1: expected the label kubernetes.io/service-name",
    ],
    ["- 1", "1: Cannot use [1]: expected a Kubernetes object"],
    ["apiVersion: v1", "1: Cannot find kind: expected the kind of the object"],
    ["kind: Node", "1: Cannot find apiVersion: expected the API version of Node"],
    [
      "apiVersion: v1\nkind: List\nitems:\n  - kind: Node",
      "4: Cannot find items[0].apiVersion: expected the API version of Node",
    ],
    [
      "a: [",
      "1: Cannot parse YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    [`${node("")}---\n${node("")}`, "6: Cannot use a second Node node-a: the first is in line 1"],
  ])("names what is wrong in %j", (text, problem) => expect(problemsOf(text)).toEqual([problem]));

  test("names every problem of a file", () => {
    expect(
      problemsOf(
        `${node("spec: { podCIDR: x }")}\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: A }\n`,
      ),
    ).toHaveLength(2);
  });

  test("names the line of an alias that has no anchor", () => {
    const text =
      "apiVersion: v1\nkind: Node\nmetadata:\n  labels: { a: &a b, c: *a }\n  name: *nobody\n";
    expect(parseManifest(text)).toMatchObject({
      kind: "invalid",
      problems: [
        { line: 5, message: expect.stringMatching(/^Cannot parse YAML: .*alias.*nobody/) },
      ],
    });
  });

  test("refuses aliases that expand without limit", () => {
    const laughs = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(", ")}]`,
    );
    expect(problemsOf(`l0: &l0 [x]\n${laughs.join("\n")}\n`)[0]).toContain("Cannot parse YAML");
  });

  test("never throws, whatever the text", () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 200, unit: "binary" }),
        (text) => void parseManifest(text),
      ),
    );
    const words = [
      "apiVersion: v1\n",
      "kind: Node\n",
      "kind: List\n",
      "items:\n",
      "- ",
      "metadata:\n",
      "  name: a\n",
      "---\n",
      "spec: {",
      "}",
      "[",
      ": ",
      "&a ",
      "*a",
      "null\n",
    ];
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...words)),
        (parts) => void parseManifest(parts.join("")),
      ),
    );
  });
});
