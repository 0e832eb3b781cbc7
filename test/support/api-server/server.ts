// A small Kubernetes API server: the part of the API that fairlead uses, after the documentation
// ("Kubernetes API Concepts", the API reference), with faults in the hands of a test.
import { once } from "node:events";
import { createServer as createPlainServer, type IncomingMessage, type Server } from "node:http";
import { createServer, type Server as TlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { type TLSSocket } from "node:tls";
import { authorize, type Call, callOf, type Rule } from "./access.ts";
import { ObjectStore } from "./object-store.ts";
import { type Body, create, get, list, patch, remove, update } from "./requests.ts";
import { parseTarget, type Target } from "./resource.ts";
import { Refusal } from "./status.ts";
import { Watches } from "./watches.ts";

export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
  /** Of clients' certificates. */
  readonly ca: string;
}

export interface ApiServerOptions {
  /** Absent: plain HTTP. */
  readonly certificate?: ServerCertificate;
  /** Bearer token → user. Absent: nobody is asked. */
  readonly tokens?: ReadonlyMap<string, string>;
  /** Absent: everybody may do everything. */
  readonly rules?: readonly Rule[];
  /** Where it listens; default: 127.0.0.1, on a port that is free. */
  readonly listen?: { readonly address: string; readonly port: number };
}

export class ApiServer implements AsyncDisposable {
  readonly store = new ObjectStore();
  readonly watches = new Watches(this.store);
  /** Every request that was authenticated, oldest first. */
  readonly calls: Call[] = [];
  /** Valid from now on. */
  tokens: ReadonlyMap<string, string> | undefined;
  rules: readonly Rule[] | undefined;
  /** Asked before each request is served: throws, or keeps it waiting. */
  fault: ((call: Call) => void | Promise<void>) | undefined;
  #certificate: ServerCertificate | undefined;
  #server: Server | TlsServer | undefined;
  readonly #address: string;
  #port: number;

  private constructor({ certificate, tokens, rules, listen }: ApiServerOptions) {
    this.#address = listen?.address ?? "127.0.0.1";
    this.#port = listen?.port ?? 0;
    this.#certificate = certificate;
    this.tokens = tokens;
    this.rules = rules;
  }

  static async start(options: ApiServerOptions = {}): Promise<ApiServer> {
    const server = new ApiServer(options);
    await server.start();
    return server;
  }

  get url(): string {
    return `${this.#certificate === undefined ? "http" : "https"}://${this.#address}:${this.#port}`;
  }

  /** Again, on the port that it had. */
  async start(): Promise<void> {
    const serve = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#serve(request, response);
    const server =
      this.#certificate === undefined
        ? createPlainServer(serve)
        : createServer(
            { ...this.#certificate, requestCert: true, rejectUnauthorized: false },
            serve,
          );
    server.keepAliveTimeout = 60_000;
    server.listen(this.#port, this.#address);
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Breaks every connection, and takes none before it starts again. What it has it keeps. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  }

  /** Shows another certificate to who connects from now on. */
  useCertificate(certificate: ServerCertificate): void {
    this.#certificate = certificate;
    const server = this.#server;
    if (server !== undefined && "setSecureContext" in server) server.setSecureContext(certificate);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://localhost");
    try {
      const user = this.#authenticate(request);
      if (url.pathname === "/version") return answer(response, 200, { gitVersion: "v1.36.0-test" });
      const target = parseTarget(url.pathname);
      if (target === undefined) {
        throw new Refusal(404, "the server could not find the requested resource");
      }
      const call = callOf(user, request.method ?? "", target, url.searchParams);
      this.calls.push(call);
      await this.fault?.(call);
      authorize(this.rules, call);
      if (call.verb === "watch") {
        this.watches.open(target, url.searchParams, response);
        return;
      }
      const body = await bodyOf(request);
      const done = this.#do(call, target, body);
      answer(response, call.verb === "create" ? 201 : 200, done);
    } catch (error) {
      if (response.headersSent) return void response.destroy();
      const refusal =
        error instanceof Refusal
          ? error
          : new Refusal(500, error instanceof Error ? error.message : "?");
      answer(response, refusal.status.code, refusal.status);
    }
  }

  #authenticate(request: IncomingMessage): string {
    const { tokens } = this;
    if (tokens === undefined) return "system:anonymous";
    const socket = request.socket as TLSSocket;
    if (socket.authorized) {
      const name = socket.getPeerCertificate().subject?.CN;
      if (typeof name === "string") return name;
    }
    const [, token = ""] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
    const user = tokens.get(token);
    if (user === undefined) throw new Refusal(401, "Unauthorized");
    return user;
  }

  #do({ verb, query }: Call, target: Target, body: Body | undefined): object {
    const { store } = this;
    const given = body ?? { contentType: "", value: undefined };
    switch (verb) {
      case "list":
        return list(store, target, query);
      case "get":
        return get(store, target);
      case "create":
        return create(store, target, given);
      case "update":
        return update(store, target, given);
      case "patch":
        return patch(store, target, given);
      case "delete":
        return remove(store, target, body);
      default:
        throw new Refusal(405, "the server does not allow this method on the requested resource");
    }
  }
}

async function bodyOf(request: IncomingMessage): Promise<Body | undefined> {
  const [contentType = ""] = (request.headers["content-type"] ?? "").split(";");
  if (request.method === "GET") return undefined;
  if (request.headers["content-length"] === "0" || contentType === "") {
    request.resume();
    return undefined;
  }
  try {
    return { contentType, value: await json(request) };
  } catch {
    throw new Refusal(400, "the body of the request is not JSON");
  }
}

function answer(response: ServerResponse, code: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(code, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
