import type { Dns } from "./cni/types.ts";

/**
 * resolv.conf(5) as host-local reads it: nameservers, search domains and options add up over the
 * lines, the last domain counts; comment lines, unknown keywords and keywords without a value are
 * skipped. A comment at the end of a line is not known to the format.
 */
export function parseResolvConf(text: string): Dns {
  const nameservers: string[] = [];
  const search: string[] = [];
  const options: string[] = [];
  let domain: string | undefined;
  for (const line of text.split("\n")) {
    const [keyword = "", ...values] = line.trim().split(/\s+/);
    const [first] = values;
    if (first === undefined || /^[#;]/.test(keyword)) continue;
    if (keyword === "nameserver") nameservers.push(first);
    else if (keyword === "domain") domain = first;
    else if (keyword === "search") search.push(...values);
    else if (keyword === "options") options.push(...values);
  }
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  };
}
