import { type FileSystem, nodeFileSystem } from '../backends/file/file-system.ts';

/** The real file system until the n-th call, which throws, before or after its effect. */
export function crashing(at: number, when: 'before' | 'after'): { fs: FileSystem; steps: () => number } {
  let step = 0;
  const wrap =
    (call: (...args: never[]) => Promise<unknown>) =>
    async (...args: never[]) => {
      const mine = ++step;
      if (mine === at && when === 'before') throw new Error('crash');
      const result = await call(...args);
      if (mine === at) throw new Error('crash');
      return result;
    };
  const entries = Object.entries(nodeFileSystem).map(([name, call]) => [name, wrap(call as never)]);
  return { fs: Object.fromEntries(entries) as FileSystem, steps: () => step };
}
