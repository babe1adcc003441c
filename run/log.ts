import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** A logger of JSON lines on stderr: a constant message, and what varies as keys. */
export function createLog(program: string, level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, destination ?? pino.destination({ dest: 2, sync: true }));
}
