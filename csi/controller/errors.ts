import { KubeError } from '../../kube/mod.ts';

export function isNotFound(error: unknown): boolean {
  return error instanceof KubeError && error.code === 404;
}

/** The object was changed meanwhile, or exists already. */
export function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409;
}

/** The object breaks a rule of its type: asked again, it would be refused again. */
export function isInvalid(error: unknown): boolean {
  return error instanceof KubeError && (error.code === 400 || error.code === 422);
}
