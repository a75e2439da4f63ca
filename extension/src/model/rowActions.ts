/** @file What can be done to a worker in which state; pure. The engine decides in the end. */
import type { Contributor } from '@ravenlab/protocol';

type Row = Pick<Contributor, 'state'>;

export function canResume({ state }: Row): boolean {
  return state === 'draining' || state === 'paused';
}

export function canDrain({ state }: Row): boolean {
  return state !== 'gone' && state !== 'draining';
}

export function canPause({ state }: Row): boolean {
  return state !== 'gone' && state !== 'paused';
}

/** Also of one that has left: it must not come back. */
export function canBan(_row: Row): boolean {
  return true;
}
