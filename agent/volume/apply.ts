import { type AoEVolume, isCopiedAway } from '../../api/volume.ts';
import { type EnforceContext, enforceAccess, isCurrent } from '../access/enforce.ts';
import type { Backend } from '../backends/backend.ts';
import { TargetError } from '../target/api.ts';
import type { TargetConnection } from '../target/connection.ts';
import type { VolumeMemory } from './memory.ts';
import type { Observed } from './observe.ts';
import type { Outcome } from './outcome.ts';
import type { Plan } from './plan.ts';
import { type RemovalContext, removeVolume } from './removal.ts';

export interface ApplyContext extends EnforceContext, RemovalContext {
  target: TargetConnection;
}

export interface Subject {
  volume: AoEVolume;
  seen: Observed;
  memory: VolumeMemory;
  /** Backend of the volume's pool; undefined when there is no such pool. */
  backend: Backend | undefined;
}

/**
 * Carries out a plan. Every step may have been done before. What the target refuses is part of the outcome.
 * @throws KubeError, and other errors that are not the target's
 */
export async function applyPlan(context: ApplyContext, plan: Plan, subject: Subject, signal: AbortSignal): Promise<Outcome> {
  const outcome: Outcome = {};
  try {
    if (plan.action === 'withdraw') await context.target.unexport(subject.volume.metadata.uid ?? '', signal);
    // Nothing is lent that the API server does not let be moved any more.
    if (plan.action === 'lend' && plan.definition && isSameLoan(subject.volume, await context.read(subject.volume, signal)))
      await context.target.export(plan.definition, signal);
    if (plan.action === 'serve') await serve(context, plan, subject, outcome, signal);
    if (plan.action === 'remove') await remove(context, plan, subject, outcome, signal);
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    outcome.error = error;
  }
  return outcome;
}

function isSameLoan({ spec: { move } }: AoEVolume, now: AoEVolume | undefined): boolean {
  return now !== undefined && isCopiedAway(now) && now.spec.move?.id === move?.id;
}

async function serve(
  context: ApplyContext,
  { definition, access }: Extract<Plan, { action: 'serve' }>,
  { volume, seen, memory }: Subject,
  outcome: Outcome,
  signal: AbortSignal,
): Promise<void> {
  if (!(await isCurrent(volume, access, context.read, signal))) return;
  let state = seen.exported;
  const cutsOff = access.cutOff.length > 0;
  // An export waits for its disk, which may hang: hosts that lose access lose it first.
  if (state && cutsOff) state = await enforce(context, volume, access, state, outcome, signal);
  if (definition) {
    if (state) memory.reopened();
    state = await context.target.export(definition, signal);
  }
  if (!state) return;
  if (cutsOff) note(state, outcome);
  else await enforce(context, volume, access, state, outcome, signal);
}

async function remove(
  context: ApplyContext,
  { access }: Extract<Plan, { action: 'remove' }>,
  { volume, seen, memory, backend }: Subject,
  outcome: Outcome,
  signal: AbortSignal,
): Promise<void> {
  let state = seen.exported;
  // Initiators that the spec no longer names lose access and lock first. Then a lock that is left shows that the volume is in use.
  if (state && access) {
    if (await isCurrent(volume, access, context.read, signal)) state = await enforce(context, volume, access, state, outcome, signal);
    else outcome.holderSeen = state;
  }
  outcome.removal = await removeVolume(
    context,
    volume,
    { backend, state, dataIsBusy: memory.data.isBusy, removal: memory.removal },
    signal,
  );
  // A wipe may take hours, and nobody needs the data any more.
  if (outcome.removal.outcome === 'waiting' && outcome.removal.wait.for === 'data') memory.data.stop(new Error('the volume is deleted'));
}

async function enforce(
  context: EnforceContext,
  volume: AoEVolume,
  access: Parameters<typeof enforceAccess>[2],
  before: Parameters<typeof enforceAccess>[3],
  outcome: Outcome,
  signal: AbortSignal,
): Promise<NonNullable<Outcome['confirmed']>> {
  const { state, lockCleared } = await enforceAccess(context, volume, access, before, signal);
  note(state, outcome);
  outcome.lockCleared = lockCleared;
  return state;
}

/** The target serves the volume so, and admits the planned initiators. */
function note(state: NonNullable<Outcome['confirmed']>, outcome: Outcome): void {
  outcome.confirmed = state;
  outcome.holderSeen = state;
}
