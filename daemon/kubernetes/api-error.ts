// What the API server answers when it refuses ("API Conventions", Response Status Kind).
import * as v from "valibot";

const statusSchema = v.object({
  kind: v.literal("Status"),
  message: v.optional(v.string(), ""),
  reason: v.optional(v.string(), ""),
  code: v.optional(v.number(), 0),
  details: v.optional(
    v.object({
      retryAfterSeconds: v.exactOptional(v.number()),
      causes: v.optional(v.array(v.object({ reason: v.optional(v.string(), "") })), []),
    }),
    {},
  ),
});

export interface Refusal {
  /** HTTP status. */
  readonly code: number;
  readonly reason: string;
  /** How long the server wants to be left alone; absent: it does not say. */
  readonly retryAfterMs?: number;
}

/** The API server has answered, and not with what was asked for. */
export class ApiError extends Error implements Refusal {
  readonly code: number;
  readonly reason: string;
  readonly retryAfterMs?: number;

  constructor(message: string, { code, reason, retryAfterMs }: Refusal) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.reason = reason;
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
  }

  /**
   * The version that was asked for is no longer there, or not yet: only a list of the newest helps.
   */
  get isGone(): boolean {
    return this.code === 410 || this.reason === "Expired" || this.reason === tooLarge;
  }
}

const tooLarge = "ResourceVersionTooLarge";

/** Of a Status object, or of any other answer, which a proxy may have given. */
export function toApiError(value: unknown, code: number, retryAfter?: string): ApiError {
  const parsed = v.safeParse(statusSchema, value);
  const status = parsed.success ? parsed.output : undefined;
  const seconds = status?.details.retryAfterSeconds ?? Number(retryAfter);
  const isTooLarge = status?.details.causes.some(({ reason }) => reason === tooLarge) ?? false;
  const answered = code === 0 ? (status?.code ?? 0) : code;
  const said = status?.message ?? "";
  return new ApiError(said === "" ? `the server answered ${answered}` : `${answered} ${said}`, {
    code: answered,
    reason: isTooLarge ? tooLarge : (status?.reason ?? ""),
    ...(seconds > 0 && { retryAfterMs: seconds * 1000 }),
  });
}
