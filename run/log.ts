import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/**
 * A logger of JSON lines on stderr: a constant message, and what varies as keys. Key `error` takes a text or an Error, and is
 * always written as text: an Error's message with those of its causes, and its stack in key `stack`.
 * @example log.warn({ volume: name, error }, 'volume not placed');
 */
export function createLog(program: string, level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }), log: withErrorText },
  };
  return pino(options, destination ?? pino.destination({ dest: 2, sync: true }));
}

function withErrorText(keys: Record<string, unknown>): Record<string, unknown> {
  if (!(keys.error instanceof Error)) return keys;
  const { message, stack } = pino.stdSerializers.err(keys.error);
  return { ...keys, error: message, stack };
}
