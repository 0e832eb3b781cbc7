// A link of the kernel in memory, as its settings change it.
import { type Link, type LinkSettings, linkAlias } from "../core/network.ts";

export function withSettings(link: Link, settings: LinkSettings): Link {
  const { isUp, mtu, mac, alias, group, vxlan, options = [] } = settings;
  const { altered = [], ...before } = link;
  const left = altered.filter(({ word }) => !options.some((option) => option.word === word));
  const others = [...left, ...options.filter(({ value, usual }) => value !== usual)];
  const underlayIndex = vxlan?.underlayIndex;
  return {
    ...before,
    ...(others.length > 0 && { altered: others }),
    ...(isUp !== undefined && { isUp }),
    ...(mtu !== undefined && { mtu }),
    ...(mac !== undefined && { mac }),
    ...(alias !== undefined && { alias: linkAlias(alias) }),
    ...(group !== undefined && { group }),
    ...(vxlan !== undefined && { vxlan }),
    ...(underlayIndex !== undefined && { linkIndex: underlayIndex }),
  };
}
