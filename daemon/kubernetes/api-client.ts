// Requests to the Kubernetes API over node:https. docs/decisions has why this is our own.
import type { IncomingMessage, Agent as PlainAgent } from "node:http";
import { Agent, request as tlsRequest } from "node:https";
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../core/clock.ts";
import { toError } from "../../core/error.ts";
import { version } from "../../core/version.ts";
import type { ApiAccess } from "./access.ts";
import { toApiError } from "./api-error.ts";
import { type Credentials, CredentialStore, type TlsMaterial } from "./credentials.ts";

// Not imported: that reads every export, and some of them load Node's whole fetch, of 5 MiB.
const http = process.getBuiltinModule("node:http");

export interface ApiRequest {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** Of the body; default: application/json. */
  readonly contentType?: string;
}

export interface ApiTiming {
  /** From the request to the head of the answer. */
  readonly answerMs: number;
  /** Without a byte of the body of an answer that is not a watch. */
  readonly idleMs: number;
}

export interface ApiClientOptions {
  /** Reads the access again: a kubeconfig is rotated too. Throws: the one before stays. */
  readonly reload?: () => ApiAccess;
  readonly timing?: ApiTiming;
}

const usualTiming: ApiTiming = { answerMs: 30_000, idleMs: 30_000 };
/** Of an answer that is read whole: what the API takes as an object has less. */
const bodyMax = 8 << 20;
// A peer that is gone without a word is noticed after this and ten probes, a second apart.
const keepAliveMs = 15_000;
// Five watches, and what else is asked at the same time.
const socketsMax = 16;

export class ApiClient implements Disposable {
  /** The server's URL. */
  readonly location: string;
  #access: ApiAccess;
  readonly #reload: (() => ApiAccess) | undefined;
  readonly #credentials: CredentialStore;
  readonly #timing: ApiTiming;
  #agent: { readonly tls: TlsMaterial; readonly agent: PlainAgent } | undefined;

  constructor(access: ApiAccess, clock: Clock, options: ApiClientOptions = {}) {
    this.location = access.server;
    this.#access = access;
    this.#reload = options.reload;
    this.#credentials = new CredentialStore(clock);
    this.#timing = options.timing ?? usualTiming;
  }

  /** The JSON that is answered. Rejects with ApiError, or with what the network or TLS says. */
  async ask(request: ApiRequest, signal: AbortSignal): Promise<unknown> {
    const text = await readText(await this.open(request, signal), this.#timing.idleMs);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** An answer of success, its body still to be read. The signal ends that too. */
  async open(request: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    this.#refresh();
    const credentials = await this.#credentials.current(this.#access);
    signal.throwIfAborted();
    const response = await this.#send(request, credentials, signal);
    const { statusCode = 0, headers } = response;
    if (statusCode >= 200 && statusCode < 300) return response;
    if (statusCode === 401) this.#credentials.refused();
    const text = await readText(response, this.#timing.idleMs);
    throw toApiError(parseIfJson(text), statusCode, headers["retry-after"]);
  }

  [Symbol.dispose](): void {
    this.#credentials[Symbol.dispose]();
    this.#agent?.agent.destroy();
  }

  #refresh(): void {
    try {
      this.#access = this.#reload?.() ?? this.#access;
    } catch {
      // Half written, or broken: what the API says to the credentials of before is named.
    }
  }

  #send(
    { method = "GET", path, query = {}, body, contentType = "application/json" }: ApiRequest,
    { headers, tls }: Credentials,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const url = new URL(this.#access.server + path);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    const text = body && JSON.stringify(body);
    const send = url.protocol === "https:" ? tlsRequest : http.request;
    const { answerMs } = this.#timing;
    return new Promise((resolve, reject) => {
      const request = send(url, {
        method,
        agent: this.#agentFor(tls),
        signal,
        headers: {
          ...headers,
          accept: "application/json",
          "user-agent": `fairlead/${version}`,
          ...(text !== undefined && {
            "content-type": contentType,
            "content-length": String(Buffer.byteLength(text)),
          }),
        },
      });
      const timer = setTimeout(() => {
        request.destroy(new Error(`no answer within ${answerMs / 1000} s`));
      }, answerMs);
      request.once("socket", (socket) => socket.setKeepAlive(true, keepAliveMs));
      request.once("close", () => clearTimeout(timer));
      request.once("error", reject);
      request.once("response", (response) => {
        clearTimeout(timer);
        // Whoever reads is told by the stream; nobody need be told twice.
        request.on("error", () => {});
        resolve(response);
      });
      request.end(text);
    });
  }

  /** Connections are kept as long as they would be made with the same certificates. */
  #agentFor(tls: TlsMaterial): PlainAgent {
    const known = this.#agent;
    if (known !== undefined && isDeepStrictEqual(known.tls, tls)) return known.agent;
    const { server, serverName, isInsecure } = this.#access;
    const options = { keepAlive: true, maxSockets: socketsMax, maxFreeSockets: 2 };
    const agent = server.startsWith("https:")
      ? new Agent({
          ...options,
          ...tls,
          rejectUnauthorized: !isInsecure,
          ...(serverName !== undefined && { servername: serverName }),
        })
      : new http.Agent(options);
    this.#agent = { tls, agent };
    // Those at work over the agent before end by themselves: its idle connections need not.
    for (const sockets of Object.values(known?.agent.freeSockets ?? {})) {
      for (const socket of sockets ?? []) socket.destroy();
    }
    return agent;
  }
}

function parseIfJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readText(response: IncomingMessage, idleMs: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunksOf(response, idleMs)) {
    size += chunk.length;
    if (size > bodyMax) {
      response.destroy();
      throw new Error(`an answer of more than ${bodyMax >> 20} MiB`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The body as it comes. Throws when nothing comes for so long, and when it is cut off. */
export async function* chunksOf(
  response: IncomingMessage,
  idleMs: number,
): AsyncGenerator<Buffer, void> {
  const onIdle = (): void => {
    response.destroy(new Error(`nothing came for ${idleMs / 1000} s`));
  };
  let timer = setTimeout(onIdle, idleMs);
  try {
    for await (const chunk of response) {
      clearTimeout(timer);
      if (Buffer.isBuffer(chunk)) yield chunk;
      timer = setTimeout(onIdle, idleMs);
    }
  } catch (error) {
    throw toError(error);
  } finally {
    clearTimeout(timer);
  }
}
