/**
 * @file Everything that a later life of the engine needs, at one moment: which bytes belong to an image and a JSON text that
 * says what they are. Writes and reads nothing itself.
 */
import type { DataId, StateId, StateVersion, TensorType } from '@ravenlab/protocol';
import { ClusterError, LIMITS, byteSizeOf } from '@ravenlab/protocol';
import type { Rules } from '../core/cluster/rules.js';
import type { ClusterCounters } from '../core/cluster/state.js';
import { IMAGE_HEAD_BYTES } from './imageRing.js';
import type { ImagePart, JournalBlob, NamedPart } from './journalMessages.js';
import type { PanelMemory } from './panelView.js';
import type { RunTableImage } from './runs.js';
import type { CapturedState, RestoredState, StateStore } from './states.js';

/** Raised when its shape changes: an image of another release is not restored. */
const SNAPSHOT_VERSION = 3;
/** Parts begin at multiples of this: a cache line, so that two never share one. */
const PART_ALIGN = 64;

interface RevisionImage {
  readonly wireVersion: number;
  readonly version: number;
  readonly offset: number;
}

interface SlotsImage {
  readonly optimizerId: number;
  readonly ruleName: RestoredState['slots'][number]['ruleName'];
  readonly stepsDone: number;
  readonly offsets: readonly number[];
}

interface StateImage {
  readonly stateId: StateId;
  readonly type: TensorType;
  /** Oldest first. */
  readonly revisions: readonly RevisionImage[];
  readonly slots: readonly SlotsImage[];
}

export interface DataImage {
  readonly dataId: DataId;
  readonly type: TensorType;
  readonly file: string;
}

export interface EngineSnapshot {
  readonly snapshotVersion: number;
  readonly version: StateVersion;
  /** Versions before it are not in the image. */
  readonly floor: number;
  /** Numbers of revisions on the wire that were given out are below. */
  readonly nextWire: number;
  readonly states: readonly StateImage[];
  readonly data: readonly DataImage[];
  readonly runs: RunTableImage;
  readonly panel: PanelMemory;
  readonly counters: ClusterCounters;
  /** Bit classes of runs: what is repeated must take the bits that it took before. */
  readonly pins: Rules['pins'];
}

/** An image that is about to be written. */
export interface Capture {
  readonly text: string;
  readonly sizeBytes: number;
  readonly volatile: readonly ImagePart[];
  readonly stable: readonly NamedPart[];
  readonly blobs: readonly JournalBlob[];
  readonly files: readonly string[];
  /** Resolves when all that is not in the image itself is written; rejects with the reason if it cannot be. */
  readonly ready: (isSynced: boolean) => Promise<void>;
  /** To be called when the stable parts have been read. */
  readonly release: () => void;
}

class Layout {
  sizeBytes = IMAGE_HEAD_BYTES;

  place(sizeBytes: number): number {
    const offset = this.sizeBytes;
    this.sizeBytes += Math.ceil(sizeBytes / PART_ALIGN) * PART_ALIGN;
    return offset;
  }
}

/** Where the bytes of states go, and what they are. */
export interface StatesImage {
  readonly images: readonly StateImage[];
  readonly stable: readonly NamedPart[];
  readonly volatile: readonly ImagePart[];
  readonly sizeBytes: number;
}

/** Lays out states in an image: the same states lie at the same places each time. */
export function layOut(states: readonly CapturedState[]): StatesImage {
  const layout = new Layout();
  const stable: NamedPart[] = [];
  const volatile: ImagePart[] = [];
  const images = states.map(({ stateId, type, revisions, slots }): StateImage => {
    const sizeBytes = byteSizeOf(type);
    return {
      stateId,
      type,
      revisions: revisions.map(({ wireVersion, version, block, resource }) => {
        const offset = layout.place(sizeBytes);
        // A resource is never another thing in one life of the engine, which a state's revision may be.
        const name = String(resource.id);
        stable.push({ ptr: block.ptr, sizeBytes, offset, name });
        return { wireVersion, version, offset };
      }),
      slots: slots.map(({ optimizerId, ruleName, stepsDone, blocks }) => {
        const offsets = blocks.map((block) => {
          const offset = layout.place(block.sizeBytes);
          volatile.push({ ptr: block.ptr, sizeBytes: block.sizeBytes, offset });
          return offset;
        });
        return { optimizerId, ruleName, stepsDone, offsets };
      }),
    };
  });
  return { images, stable, volatile, sizeBytes: layout.sizeBytes };
}

export function snapshotText(snapshot: Omit<EngineSnapshot, 'snapshotVersion'>): string {
  return JSON.stringify({ snapshotVersion: SNAPSHOT_VERSION, ...snapshot });
}

/** @throws ClusterError when another release wrote it. */
export function readSnapshot(text: string): EngineSnapshot {
  const snapshot = JSON.parse(text) as EngineSnapshot;
  if (snapshot.snapshotVersion !== SNAPSHOT_VERSION) {
    throw new ClusterError(
      `the engine's image is of format ${String(snapshot.snapshotVersion)}, this release reads ${String(SNAPSHOT_VERSION)}; load a checkpoint instead`,
    );
  }
  return snapshot;
}

/** Makes room for the states of a snapshot. @returns where their bytes are to be loaded. */
export function makeStates(snapshot: EngineSnapshot, store: StateStore): ImagePart[] {
  const parts: ImagePart[] = [];
  store.goOnAt(snapshot.version, snapshot.floor, snapshot.nextWire);
  for (const { stateId, type, revisions, slots } of snapshot.states) {
    const blocks = store.restore({ stateId, type, revisions, slots: slots.map(slotsOf) });
    revisions.forEach(({ offset }, index) => {
      parts.push(partOf(blocks.revisions[index], offset));
    });
    slots.forEach(({ offsets }, index) => {
      offsets.forEach((offset, at) => parts.push(partOf(blocks.slots[index]?.[at], offset)));
    });
  }
  return parts;
}

function slotsOf({ optimizerId, ruleName, stepsDone, offsets }: SlotsImage) {
  return { optimizerId, ruleName, stepsDone, arrays: offsets.length };
}

function partOf(
  block: { readonly ptr: number; readonly sizeBytes: number } | undefined,
  offset: number,
): ImagePart {
  if (block === undefined) throw new ClusterError('a part of the image has no place in memory');
  return { ptr: block.ptr, sizeBytes: block.sizeBytes, offset };
}

/** Oldest version that a kernel may still ask for when the last `lag` are kept. */
export function floorOf(version: number, lag: number): number {
  return Math.max(0, version - Math.min(lag, LIMITS.retainedVersions - 1));
}
