import type { FastDisturbance } from '../model/fast-faults.ts';
import { CLEAR, WEATHER } from '../model/weather.ts';
import type { ProcessLab } from './process-lab.ts';

/** Makes something go wrong. @returns what ends it, to be called once */
export async function disturbLab(lab: ProcessLab, what: FastDisturbance): Promise<() => void | Promise<void>> {
  switch (what.kind) {
    case 'kill': {
      const part = lab.parts.programs[what.part];
      await part.kill();
      return () => part.start();
    }
    case 'api-server-restart':
      await lab.parts.api.killApi();
      return () => lab.parts.api.startApi();
    case 'stop': {
      const { part } = what;
      if (part !== 'api-server' && part !== 'etcd') return lab.parts.programs[part].stop();
      lab.parts.api.signal(part, 'SIGSTOP');
      return () => lab.parts.api.signal(part, 'SIGCONT');
    }
    case 'api-line': {
      const line = lab.parts.lines[what.part];
      if (what.how === 'cut') line.cut();
      else line[what.how] = true;
      return () => {
        if (what.how === 'cut') return;
        line[what.how] = false;
        // A silent connection stays silent for good. Programs must notice that by themselves, but not in every step.
        line.cut();
      };
    }
    case 'link-down': {
      const { port } = lab.host(what.node);
      port.down = true;
      return () => {
        port.down = false;
      };
    }
    case 'bad-link': {
      const { port } = lab.host(what.node);
      port.weather = WEATHER[what.how];
      return () => {
        port.weather = CLEAR;
      };
    }
  }
}
