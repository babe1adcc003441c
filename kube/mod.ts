export { setCondition } from './conditions.ts';
export { Controller, type ControllerOptions, type Result } from './controller.ts';
export { LeaseElector } from './elector.ts';
export { isConflict, isNotFound, KubeError, TerminalError, TimeoutError } from './errors.ts';
export { EventRecorder } from './events.ts';
export { type Change, Informer, keyOf } from './informer.ts';
export { Kube, type KubeObject } from './kube.ts';
