import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, RpcError } from '../../../rpc/status.ts';
import { failureText } from '../failure-text.ts';

/** Parameters of the kernel's aoe module by name, as whole numbers. */
export type ModuleParameters = Readonly<Record<string, number>>;

/** Those that can be changed while the module is loaded, and their smallest values (drivers/block/aoe/aoecmd.c, module_param with mode 0644). */
const SMALLEST: ModuleParameters = { aoe_deadsecs: 0, aoe_maxout: 1 };
/** The module keeps them as C int. */
const LARGEST = 2 ** 31 - 1;

/**
 * Reads `aoe_deadsecs=0,aoe_maxout=32`; an empty text has no parameter.
 * @throws Error when a parameter is unknown or its value is out of range
 */
export function parseModuleParameters(text: string): ModuleParameters {
  const pairs = text.split(',').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name = '', digits = ''] = /^([a-z_]+)=([0-9]{1,10})$/.exec(pair) ?? [];
      const smallest = Object.hasOwn(SMALLEST, name) ? SMALLEST[name] : undefined;
      if (smallest === undefined || Number(digits) < smallest || Number(digits) > LARGEST) {
        throw new Error(
          `"${pair}" is not a parameter of the aoe module that can be set: write aoe_deadsecs=SECONDS or aoe_maxout=COUNT (1 or more)`,
        );
      }
      return [name, Number(digits)];
    }),
  );
}

/**
 * Sets the parameters of the loaded module that have another value.
 * @param directory of the module's parameters in sysfs
 * @throws RpcError UNAVAILABLE when the kernel does not take one
 */
export async function setModuleParameters(parameters: ModuleParameters, directory: string): Promise<void> {
  for (const [name, value] of Object.entries(parameters)) {
    const path = join(directory, name);
    try {
      if ((await readFile(path, 'utf8')).trim() !== `${value}`) await writeFile(path, `${value}`, { flag: 'r+' });
    } catch (error) {
      throw new RpcError(Code.UNAVAILABLE, `the kernel's aoe module does not take ${name}=${value} (${path}): ${failureText(error)}`, {
        cause: error,
      });
    }
  }
}
