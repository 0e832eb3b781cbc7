import type { Ip } from "../../core/address.ts";
import type { PodDirectory, PodsChange } from "../cluster/pod-directory.ts";
import type { ZoneUpdate } from "../cluster/zone-feed.ts";
import type { Responder, ResponderOptions } from "../respond/responder.ts";
import type { Listener } from "./udp-listener.ts";

export interface UdpListenOptions {
  readonly address: Ip;
  readonly port: number;
  readonly respond: Responder;
  /** A socket that is bound already, to be closed by the listener. */
  readonly fd?: number;
}

/** How queries over UDP reach the responder, and what it must tell about its answers. */
export interface UdpTransport extends AsyncDisposable {
  /** Answers on one address. Rejects when it cannot be bound. */
  listen(options: UdpListenOptions): Promise<Listener>;
  /** Resolves when who takes the datagrams has come by: it may hang while this thread does not. */
  alive(): Promise<void>;
  /** The zone has the update: what it makes void is not given any more from here on. */
  zoneChanged(update: ZoneUpdate): void;
  upstreamsChanged(): void;
  /** Services of these keys have other answers, or other pods ask. */
  podsChanged(services: ReadonlySet<string>, pods: PodDirectory, change: PodsChange): void;
  /** What the responder's options need to tell it of answers, and to give them again. */
  readonly observer?: Pick<ResponderOptions, "onAnswer" | "known">;
}
