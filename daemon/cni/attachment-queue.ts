import type { AttachmentRequest, CniHandlers } from "../../core/cni/types.ts";
import { attachmentHash } from "../../core/names.ts";

/**
 * The same handlers, where requests for one attachment follow one another in the order they came in,
 * while others run at the same time. A request whose signal is aborted while it waits is not run.
 */
export function inTurnByAttachment(handlers: CniHandlers): CniHandlers {
  const last = new Map<string, Promise<unknown>>();

  const inTurn = async <Answer>(
    request: AttachmentRequest,
    signal: AbortSignal,
    handle: () => Promise<Answer>,
  ): Promise<Answer> => {
    const name = attachmentHash(request.key);
    const before = last.get(name);
    const turn = (async () => {
      // How the one before ended is its own affair.
      await before?.catch(() => undefined);
      signal.throwIfAborted();
      return handle();
    })();
    last.set(name, turn);
    try {
      return await turn;
    } finally {
      if (last.get(name) === turn) last.delete(name);
    }
  };

  return {
    add: (request, signal) => inTurn(request, signal, () => handlers.add(request, signal)),
    del: (request, signal) => inTurn(request, signal, () => handlers.del(request, signal)),
    check: (request, signal) => inTurn(request, signal, () => handlers.check(request, signal)),
    gc: (request, signal) => handlers.gc(request, signal),
    status: (request, signal) => handlers.status(request, signal),
  };
}
