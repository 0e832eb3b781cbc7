/** Facts of a log line: the message is a constant, what varies is a field. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The part of pino that fairlead uses, with fields first as in pino, so that pino itself fits. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

/** For a caller that has nowhere to log, and for tests. */
export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
};
