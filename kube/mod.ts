export { type Applied, type CallOptions, Kube, type KubeOptions, type ListOptions } from './client.ts';
export { type NextCondition, setCondition } from './conditions.ts';
export { Controller, type ControllerOptions, type Outcome, type Result } from './controller.ts';
export { isConflict, isNotFound, KubeError, LeaseLostError, TerminalError, TimeoutError } from './error.ts';
export { EventRecorder } from './events.ts';
export { type Change, Informer, type InformerOptions, keyOf } from './informer.ts';
export { LeaseElector, type LeaseElectorOptions } from './lease-elector.ts';
export { writeToSame } from './same-object.ts';
export type { KubeObject, Log } from './types.ts';
