/**
 * @file When the engine's journal takes an image of the states, what a flush writes, and how far a kernel may forget. A pure
 * machine: events in, effects out, time as an argument. No file, no clock, no tensors.
 *
 * An image is taken between two requests with effects, when every one that was started is whole: it is then exactly the
 * effects up to the last one started, its point. It becomes the one to restore from in the same transaction as the ledger's
 * rows, and not before the kernel has read the answers to all requests up to that point: what is asked again after a crash
 * then always finds the engine at the place where it was asked first.
 */
import type { RequestPoint } from './paidBook.js';
import { isBefore } from './paidBook.js';

export interface JournalBounds {
  /** Least time between two images; ms. */
  readonly imageMs: number;
  /** An image is made no more often than this many times the time that it takes: the share of a core that it may cost. */
  readonly imageRest: number;
  /** An image at least this old is followed by one that is forced to the disk itself; ms. */
  readonly syncMs: number;
  /** Rows wait this long for others before they are written; ms. */
  readonly flushMs: number;
  /** Pause before a refused write is tried again; ms. */
  readonly retryMs: number;
  /** Rows that may wait; beyond, no work is started. */
  readonly rows: number;
}

/** `off`: rows only; `cache`: an image survives the process at once and the machine within syncMs; `sync`: both at once. */
export type JournalMode = 'off' | 'cache' | 'sync';

export type JournalEvent<Row> =
  /** A kernel is there; the ones before wait for no answers. */
  | { readonly kind: 'attached'; readonly session: number }
  /** The kernel is gone for good: nobody waits for answers. */
  | { readonly kind: 'detached' }
  | { readonly kind: 'started'; readonly point: RequestPoint; readonly isEffect: boolean }
  /** The kernel has read the answers to all requests up to this one. */
  | { readonly kind: 'acked'; readonly point: RequestPoint }
  /** Every request with effects that was started is whole, until the next one starts: only then can an image be taken. */
  | { readonly kind: 'quiet' }
  | { readonly kind: 'paid'; readonly rows: readonly Row[] }
  /** The image that was asked for is in its slot. */
  | { readonly kind: 'imaged' }
  | { readonly kind: 'imageRefused'; readonly message: string }
  /** The write that was asked for is done, all of it. */
  | { readonly kind: 'written' }
  | { readonly kind: 'writeRefused'; readonly message: string }
  /** Somebody waits until all is journaled: the next images are taken as soon as they can be. */
  | { readonly kind: 'settle' }
  /** From this request on it is not known yet whether what was done is right; null: all of it is. */
  | { readonly kind: 'held'; readonly from: RequestPoint | null }
  /** What no image holds that counts is wrong: no image is taken any more. */
  | { readonly kind: 'abandon' }
  /** Write what there is, once; `closed` follows. */
  | { readonly kind: 'close' }
  | { readonly kind: 'tick' };

/** An image that can be restored from. */
export interface ImageRef {
  readonly slot: number;
  readonly point: RequestPoint;
  /** Forced to the disk: it survives the machine, not only the process. */
  readonly isSynced: boolean;
}

export type JournalEffect<Row> =
  /** Capture the states now, before anything else is started, and write them to the slot. */
  | ({ readonly kind: 'image' } & ImageRef)
  /** One transaction: rows, and the image to restore from if it is a new one. */
  | {
      readonly kind: 'write';
      readonly rows: readonly Row[];
      readonly image: ImageRef | null;
      readonly isSynced: boolean;
    }
  /** What is up to this point need not be asked again. */
  | { readonly kind: 'durable'; readonly point: RequestPoint }
  /** The disk refuses; told once until it takes something again. */
  | { readonly kind: 'trouble'; readonly message: string }
  | { readonly kind: 'recovered' }
  | { readonly kind: 'closed' };

/** Slots of the ring: the image in use, the last one that is forced to the disk, and the one being written. */
export const IMAGE_SLOTS = 3;

interface Pending extends ImageRef {
  readonly startedAtMs: number;
  /** Time that making it took; null while it is being made. */
  tookMs: number | null;
}

export interface JournalState<Row> {
  readonly bounds: JournalBounds;
  readonly mode: JournalMode;
  session: number;
  /** Of the current session. */
  acked: number;
  lastStarted: RequestPoint;
  /** A request with effects was started since the last image. */
  isDirty: boolean;
  /** No request with effects is half done. */
  isQuiet: boolean;
  /** No image of this request or a later one counts. */
  heldFrom: RequestPoint | null;
  /** No image is taken any more. */
  isAbandoned: boolean;
  /** Being made, or waiting: for the kernel to read its answers, for what it holds to be right. */
  pending: Pending | null;
  current: ImageRef | null;
  lastSynced: ImageRef | null;
  /** No image before this. */
  imageAtMs: number;
  /** The next image is forced to the disk from here on. */
  syncAtMs: number;
  /** Waiting to be written; those in flight are in `inFlight`. */
  rows: Row[];
  rowsAtMs: number;
  inFlight: { readonly rows: readonly Row[]; readonly image: ImageRef | null } | null;
  /** No write before this: the disk has refused one. */
  retryAtMs: number;
  isTroubled: boolean;
  /** Until all is journaled, or the disk refuses it, images wait for no pause. */
  isHasty: boolean;
  isClosing: boolean;
  isClosed: boolean;
}

const START: RequestPoint = { session: 0, request: 0 };

/** @param restored images that the engine began with; their slots are not written to as long as they are needed. */
export function createJournal<Row>(
  bounds: JournalBounds,
  mode: JournalMode,
  restored: { readonly current: ImageRef | null; readonly lastSynced: ImageRef | null } = {
    current: null,
    lastSynced: null,
  },
): JournalState<Row> {
  return {
    bounds,
    mode,
    session: 0,
    acked: 0,
    lastStarted: restored.current?.point ?? START,
    isDirty: false,
    isQuiet: true,
    heldFrom: null,
    isAbandoned: false,
    pending: null,
    current: restored.current,
    lastSynced: restored.lastSynced,
    imageAtMs: 0,
    syncAtMs: 0,
    rows: [],
    rowsAtMs: 0,
    inFlight: null,
    retryAtMs: 0,
    isTroubled: false,
    isHasty: false,
    isClosing: false,
    isClosed: false,
  };
}

/**
 * Rows that wait: beyond the bound no work may be started that would make more.
 * @param more rows that the machine has not been told of yet.
 */
export function isFull<Row>(state: JournalState<Row>, more = 0): boolean {
  return more + state.rows.length + (state.inFlight?.rows.length ?? 0) >= state.bounds.rows;
}

/** Whether a restart finds everything that was done so far. Without images it never does, and nothing is to be waited for. */
export function isSettled<Row>(state: JournalState<Row>): boolean {
  const { mode, isAbandoned, isDirty, pending, rows, inFlight } = state;
  if (mode === 'off') return true;
  // What was abandoned is yet to be done again, by another life.
  return !isAbandoned && !isDirty && pending === null && rows.length === 0 && inFlight === null;
}

/** Latest time to call `journalStep` with 'tick'; null when nothing waits for time. */
export function journalDeadline<Row>(state: JournalState<Row>): number | null {
  if (state.isClosed) return null;
  let at = Infinity;
  if (wantsImage(state) && state.isQuiet) at = state.imageAtMs;
  if (state.inFlight === null && state.rows.length > 0) {
    at = Math.min(at, Math.max(state.retryAtMs, state.rowsAtMs + state.bounds.flushMs));
  }
  if (state.inFlight === null && isReady(state)) at = Math.min(at, state.retryAtMs);
  return Number.isFinite(at) ? at : null;
}

/** Takes one event and returns what to do, in order. @param now integer ms, never going back. */
export function journalStep<Row>(
  state: JournalState<Row>,
  event: JournalEvent<Row>,
  now: number,
): JournalEffect<Row>[] {
  const effects: JournalEffect<Row>[] = [];
  take(state, event, now, effects);
  if (wantsImage(state) && state.isQuiet && (now >= state.imageAtMs || isPressed(state))) {
    effects.push(startImage(state, now));
  }
  flush(state, now, effects);
  state.isHasty &&= !isSettled(state);
  if (state.isClosing && !state.isClosed && isIdle(state)) {
    state.isClosed = true;
    effects.push({ kind: 'closed' });
  }
  return effects;
}

function take<Row>(
  state: JournalState<Row>,
  event: JournalEvent<Row>,
  now: number,
  effects: JournalEffect<Row>[],
): void {
  switch (event.kind) {
    case 'attached':
      state.session = event.session;
      state.acked = 0;
      return;
    case 'started':
      state.lastStarted = event.point;
      if (!event.isEffect) return;
      state.isDirty = true;
      state.isQuiet = false;
      return;
    case 'detached':
      state.acked = Infinity;
      return;
    case 'acked':
      if (event.point.session === state.session) {
        state.acked = Math.max(state.acked, event.point.request);
      }
      return;
    case 'quiet':
      state.isQuiet = true;
      return;
    case 'paid':
      if (state.rows.length === 0) state.rowsAtMs = now;
      for (const row of event.rows) state.rows.push(row);
      return;
    case 'imaged':
      if (state.pending !== null) state.pending.tookMs = now - state.pending.startedAtMs;
      return;
    case 'imageRefused':
      // What it would have held is still to be journaled.
      state.pending = null;
      state.isDirty = true;
      state.imageAtMs = now + state.bounds.retryMs;
      state.isHasty = false;
      effects.push(...trouble(state, event.message));
      return;
    case 'written':
      effects.push(...written(state, now));
      return;
    case 'writeRefused':
      effects.push(...refused(state, event.message, now));
      return;
    case 'settle':
      state.isHasty = !isSettled(state) && !state.isTroubled;
      return;
    case 'held':
      state.heldFrom = event.from;
      return;
    case 'abandon':
      state.isAbandoned = true;
      state.isDirty = false;
      // One that is in the transaction under way was found right.
      if ((state.inFlight?.image ?? null) === null) state.pending = null;
      return;
    case 'close':
      state.isClosing = true;
      // A disk that refuses gets one more chance, not another pause.
      state.retryAtMs = Math.min(state.retryAtMs, now);
      return;
    case 'tick':
      return;
  }
}

function wantsImage<Row>(state: JournalState<Row>): boolean {
  const { mode, isAbandoned, isDirty, pending } = state;
  return mode !== 'off' && !isAbandoned && isDirty && pending === null;
}

/** A made image that holds nothing doubtful, and whose point the kernel has read all answers up to. */
function isReady<Row>(state: JournalState<Row>): boolean {
  const { pending } = state;
  if (typeof pending?.tookMs !== 'number') return false;
  const { session, request } = pending.point;
  const { heldFrom } = state;
  if (heldFrom !== null && !isBefore(pending.point, heldFrom)) return false;
  return session !== state.session || request <= state.acked;
}

function isPressed<Row>({ isHasty, isClosing }: JournalState<Row>): boolean {
  return isHasty || isClosing;
}

function startImage<Row>(state: JournalState<Row>, now: number): JournalEffect<Row> {
  const isSynced = state.mode === 'sync' || now >= state.syncAtMs || state.isClosing;
  const slot = freeSlot(state);
  const point = state.lastStarted;
  state.pending = { slot, point, isSynced, startedAtMs: now, tookMs: null };
  state.isDirty = false;
  return { kind: 'image', slot, point, isSynced };
}

/** A slot that no restore would read. */
function freeSlot<Row>(state: JournalState<Row>): number {
  for (let slot = 0; slot < IMAGE_SLOTS; slot++) {
    if (slot !== state.current?.slot && slot !== state.lastSynced?.slot) return slot;
  }
  throw new RangeError('every image slot is in use');
}

function flush<Row>(state: JournalState<Row>, now: number, effects: JournalEffect<Row>[]): void {
  if (state.inFlight !== null || now < state.retryAtMs || state.isClosed) return;
  const ready = isReady(state) ? state.pending : null;
  const isDue = isPressed(state) || now >= state.rowsAtMs + state.bounds.flushMs;
  if (ready === null && (state.rows.length === 0 || !isDue)) return;
  const image: ImageRef | null =
    ready === null ? null : { slot: ready.slot, point: ready.point, isSynced: ready.isSynced };
  const { rows } = state;
  state.rows = [];
  state.inFlight = { rows, image };
  const isSynced = image?.isSynced ?? (state.mode === 'sync' || state.isClosing);
  effects.push({ kind: 'write', rows, image, isSynced });
}

function written<Row>(state: JournalState<Row>, now: number): JournalEffect<Row>[] {
  const { inFlight, pending } = state;
  state.inFlight = null;
  const effects: JournalEffect<Row>[] = [];
  if (state.isTroubled) {
    state.isTroubled = false;
    effects.push({ kind: 'recovered' });
  }
  const image = inFlight?.image ?? null;
  if (image === null || pending === null) return effects;
  const { imageMs, imageRest } = state.bounds;
  state.imageAtMs = pending.startedAtMs + Math.max(imageMs, (pending.tookMs ?? 0) * imageRest);
  state.pending = null;
  state.current = image;
  if (image.isSynced) {
    state.lastSynced = image;
    state.syncAtMs = now + state.bounds.syncMs;
  }
  effects.push({ kind: 'durable', point: image.point });
  return effects;
}

/** Rows and image stay as they are, in front of what came since. */
function refused<Row>(
  state: JournalState<Row>,
  message: string,
  now: number,
): JournalEffect<Row>[] {
  state.rows = [...(state.inFlight?.rows ?? []), ...state.rows];
  state.inFlight = null;
  state.retryAtMs = now + state.bounds.retryMs;
  state.isHasty = false;
  const effects = trouble(state, message);
  // Who closes cannot wait for space; the kernel and the last image that was written have the rest.
  if (state.isClosing) {
    state.isClosed = true;
    effects.push({ kind: 'closed' });
  }
  return effects;
}

function trouble<Row>(state: JournalState<Row>, message: string): JournalEffect<Row>[] {
  if (state.isTroubled) return [];
  state.isTroubled = true;
  return [{ kind: 'trouble', message }];
}

/** An image whose answers the kernel has not read cannot be used; the one before stays. */
function isIdle<Row>(state: JournalState<Row>): boolean {
  const isImaging = state.pending !== null && (state.pending.tookMs === null || isReady(state));
  return state.inFlight === null && !isImaging && state.rows.length === 0;
}
