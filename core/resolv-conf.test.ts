import { expect, test } from "vitest";
import { parseResolvConf } from "./resolv-conf.ts";

test.each([
  ["hl-disk-23: comment lines", "# nameserver 192.0.2.1\n; search a.example\n", {}],
  [
    "hl-disk-24: everything, over several lines",
    "nameserver 192.0.2.0\nnameserver 192.0.2.1\ndomain d.example\n" +
      "search s1.example s2.example\nsearch s3.example\noptions ndots:5 timeout:1\n",
    {
      nameservers: ["192.0.2.0", "192.0.2.1"],
      domain: "d.example",
      search: ["s1.example", "s2.example", "s3.example"],
      options: ["ndots:5", "timeout:1"],
    },
  ],
  ["tabs, CR LF, indentation", "\t nameserver\t192.0.2.1\r\n", { nameservers: ["192.0.2.1"] }],
  ["the last domain", "domain a.example\ndomain b.example", { domain: "b.example" }],
  ["no value, and unknown keywords", "nameserver\nsortlist 192.0.2.0\n\n", {}],
  ["further words of a nameserver", "nameserver 192.0.2.1 # ours", { nameservers: ["192.0.2.1"] }],
])("parseResolvConf() reads %s", (_what, text, dns) => expect(parseResolvConf(text)).toEqual(dns));
