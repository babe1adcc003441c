export { isConflict, isNotFound, KubeError, LeaseLostError, TerminalError, TimeoutError } from './client/error.ts';
export { type Applied, type CallOptions, Kube, type KubeOptions, type ListOptions } from './client/kube.ts';
export type { KubeObject, Log } from './client/types.ts';
export { Controller, type ControllerOptions, type Outcome, type Result } from './controller/controller.ts';
export { EventRecorder } from './events.ts';
export { type Change, Informer, type InformerOptions, keyOf } from './informer/informer.ts';
export { LeaseElector, type LeaseElectorOptions } from './leader/lease-elector.ts';
export { type NextCondition, setCondition } from './status/conditions.ts';
export { writeToSame } from './status/same-object.ts';
