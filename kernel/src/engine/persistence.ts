/** @file The engine's memory to an image and back: what is gathered for one, and how a new life of the engine fills itself from it. */
import { createHash } from 'node:crypto';
import type { ProgramHash, StateVersion } from '@ravenlab/protocol';
import { ENGINE_LIMITS, byteSizeOf } from '@ravenlab/protocol';
import { setPin } from '../core/cluster/classes.js';
import { rulesOf } from '../core/cluster/rules.js';
import type { ClusterState } from '../core/cluster/state.js';
import { settledCounters } from '../core/cluster/state.js';
import { DataFiles } from './dataFiles.js';
import type { DataFile } from './dataFiles.js';
import type { DataStore, DataTensor } from './dataStore.js';
import { cutBlocks } from './dataStore.js';
import type { EngineJournal } from './engineJournal.js';
import type { JournalBlob, JournalRecord, Restored } from './journalMessages.js';
import type { PanelView } from './panelView.js';
import type { ProgramTable } from './programTable.js';
import type { Resources } from './resources.js';
import type { RunRecord, RunTable, RunTableImage } from './runs.js';
import type { Capture, EngineSnapshot } from './snapshot.js';
import { floorOf, layOut, makeStates, readSnapshot, snapshotText } from './snapshot.js';
import type { StateStore } from './states.js';

/** Numbers on the wire that one life of the engine may give out above those in its last image. */
const WIRE_GAP = ENGINE_LIMITS.replayRequests + 1;
/** Names of blobs begin with what they are. */
const PROGRAM = 'program:';
const MANIFEST = 'manifest:';

export interface PersistenceParts {
  readonly folder: string;
  readonly resources: Resources;
  readonly states: StateStore;
  readonly data: DataStore;
  readonly programs: ProgramTable;
  readonly runs: RunTable;
  readonly panel: PanelView;
  readonly cluster: ClusterState;
  /** How many versions back the kernel has reached. */
  readonly versionLag: () => number;
}

export class Persistence {
  private readonly parts: PersistenceParts;
  private readonly files: DataFiles;
  private readonly manifestKeys = new Map<string, string>();
  private readonly nextWireAtLeast: number;

  /** @param boot counts the starts of this engine. */
  constructor(parts: PersistenceParts, boot: number) {
    this.parts = parts;
    this.files = new DataFiles(parts.folder, boot * 2 ** 32);
    this.nextWireAtLeast = boot * WIRE_GAP;
    parts.states.goOnAt(parts.states.version, 0, this.nextWireAtLeast);
    parts.runs.beginLife(boot);
  }

  capture(): Capture {
    const { states, data, runs, panel, cluster, versionLag } = this.parts;
    const floor = floorOf(states.version, versionLag());
    const { states: captured, release } = states.capture(floor);
    const { images, stable, volatile, sizeBytes } = layOut(captured);
    const tensors = data.all();
    const files = tensors.map((tensor) => this.fileOf(tensor));
    const blobs: JournalBlob[] = [];
    const text = snapshotText({
      version: states.version,
      floor,
      nextWire: states.nextWire,
      states: images,
      data: tensors.map(({ dataId, type }, index) => ({
        dataId,
        type,
        file: files[index]?.name ?? '',
      })),
      runs: this.withoutManifests(runs.image(), blobs),
      panel: panel.memory(),
      counters: settledCounters(cluster),
      pins: rulesOf(cluster).pins,
    });
    this.addPrograms(blobs);
    return {
      ...{ text, sizeBytes, volatile, stable, blobs, release },
      files: files.map(({ name }) => name),
      ready: async (isSynced) => {
        for (const file of files) await file.ready(isSynced);
      },
    };
  }

  /**
   * Fills the empty stores from the newest image that is whole. @returns its record, null when there never was an image.
   * Rejects with the newest one's error when none is whole; the stores are empty then.
   */
  async restore(journal: EngineJournal, restored: Restored): Promise<JournalRecord | null> {
    const { current, lastSynced } = restored;
    if (current === null) return null;
    try {
      await this.restoreFrom(journal, restored, current);
      return current;
    } catch (error) {
      this.clear();
      journal.useImage(null, null);
      const isOther = lastSynced !== null && lastSynced.nonce !== current.nonce;
      if (!isOther) throw error;
      try {
        await this.restoreFrom(journal, restored, lastSynced);
        journal.useImage(lastSynced.image, lastSynced.image);
        return lastSynced;
      } catch {
        this.clear();
        throw error;
      }
    }
  }

  private clear(): void {
    const { states, data } = this.parts;
    states.drop(states.ids());
    data.drop(data.ids());
    states.goOnAt(0 as StateVersion, 0, this.nextWireAtLeast);
  }

  private async restoreFrom(
    journal: EngineJournal,
    restored: Restored,
    current: JournalRecord,
  ): Promise<void> {
    const snapshot = readSnapshot(current.snapshot);
    const blobs = new Map(restored.blobs.map(({ key, bytes }) => [key, bytes]));
    await this.restoreStates(journal, current, snapshot);
    for (const [key, bytes] of blobs) {
      if (!key.startsWith(PROGRAM)) continue;
      this.parts.programs.define(key.slice(PROGRAM.length) as ProgramHash, bytes);
    }
    await this.restoreData(snapshot);
    this.parts.runs.restore(withManifests(snapshot.runs, blobs));
    this.parts.panel.recall(snapshot.panel);
    const { cluster } = this.parts;
    Object.assign(cluster.counters, snapshot.counters);
    // The file of the rules is written before an answer is sent, so it is newer, but forced to the disk by nobody.
    for (const [run, pin] of snapshot.pins) if (!cluster.pins.has(run)) setPin(cluster, run, pin);
    await this.sweepAfter(journal, restored);
  }

  /** Removes data files that no image needs any more. */
  async sweep(kept: ReadonlySet<string>): Promise<void> {
    const live = this.parts.data.all().map((tensor) => this.fileOf(tensor).name);
    await this.files.sweep(new Set([...kept, ...live]));
  }

  private async sweepAfter(
    journal: EngineJournal,
    { current, lastSynced }: Restored,
  ): Promise<void> {
    const kept = new Set<string>();
    for (const record of [current, lastSynced]) {
      if (record === null) continue;
      const files = readSnapshot(record.snapshot).data.map(({ file }) => file);
      journal.keepFiles(record.image.slot, files);
      for (const file of files) kept.add(file);
    }
    await this.sweep(kept);
  }

  private async restoreStates(
    journal: EngineJournal,
    record: JournalRecord,
    snapshot: EngineSnapshot,
  ): Promise<void> {
    const nextWire = Math.max(this.nextWireAtLeast, snapshot.nextWire + WIRE_GAP);
    const parts = makeStates({ ...snapshot, nextWire }, this.parts.states);
    await journal.load(record, parts);
  }

  private async restoreData({ data }: EngineSnapshot): Promise<void> {
    const store = this.parts.data;
    for (const { dataId, type, file } of data) {
      const bytes = await this.files.read(file, byteSizeOf(type));
      store.create(dataId, type, cutBlocks(type, bytes));
      this.files.adopt(store.get(dataId), file);
    }
  }

  private fileOf(tensor: DataTensor): DataFile {
    return this.files.fileOf(tensor, () =>
      tensor.blocks.map(({ id }) => {
        const body = this.parts.resources.get(id);
        return body?.kind === 'block' ? body.chunks : [];
      }),
    );
  }

  private addPrograms(blobs: JournalBlob[]): void {
    for (const { hash, resource } of this.parts.programs.all()) {
      const body = this.parts.resources.get(resource.id);
      if (body?.kind === 'program') blobs.push({ key: `${PROGRAM}${hash}`, bytes: body.bytes });
    }
  }

  /** Manifests are long and seldom change: they are stored under their hash. */
  private withoutManifests(image: RunTableImage, blobs: JournalBlob[]): RunTableImage {
    const records = image.records.map((record): RunRecord => {
      let key = this.manifestKeys.get(record.manifest);
      if (key === undefined) {
        key = `${MANIFEST}${createHash('sha256').update(record.manifest).digest('hex')}`;
        this.manifestKeys.set(record.manifest, key);
        const [oldest] = this.manifestKeys.keys();
        if (this.manifestKeys.size > 2 * ENGINE_LIMITS.runs && oldest !== undefined) {
          this.manifestKeys.delete(oldest);
        }
      }
      blobs.push({ key, bytes: Buffer.from(record.manifest, 'utf8') });
      return { ...record, manifest: key };
    });
    return { ...image, records };
  }
}

function withManifests(
  image: RunTableImage,
  blobs: ReadonlyMap<string, Uint8Array>,
): RunTableImage {
  const records = image.records.map((record) => {
    const bytes = blobs.get(record.manifest);
    if (bytes === undefined) throw new Error(`the manifest of run ${record.runId} is not there`);
    return { ...record, manifest: Buffer.from(bytes).toString('utf8') };
  });
  return { ...image, records };
}
