/** @file The engine's disk runs full in mid-course, and is freed again. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nowMs, sleep, until } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import { Skip } from '../lib/drill.js';
import { Rig, promisesOf } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { holds, note } from '../lib/verdict.js';

const DISK_BYTES = 64 * 2 ** 20;
const FULL_MS = 6_000;
const PIECE = new Uint8Array(4096);

/** A small file system of its own. @throws Skip where that takes rights that we lack. */
function mountSmallDisk(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ravenlab-disk-'));
  try {
    const size = `size=${String(DISK_BYTES)}`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', folder], { stdio: 'pipe' });
    return folder;
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    const reason = error instanceof Error ? (error.message.split('\n')[1] ?? error.message) : '';
    throw new Skip(`a small tmpfs cannot be mounted here (${reason.trim()}); run as root`);
  }
}

/** Writes until nothing more fits. @returns bytes that it took. */
function fill(file: string): number {
  const fd = openSync(file, 'a');
  let bytes = 0;
  try {
    for (;;) bytes += writeSync(fd, PIECE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    return bytes;
  } finally {
    closeSync(fd);
  }
}

async function diskFull({ isShort, say }: DrillContext): Promise<Figure[]> {
  const disk = mountSmallDisk();
  let rig: Rig | null = null;
  try {
    rig = await Rig.start({ model: 'mlp', workers: 2, home: disk });
    rig.train();
    const { kernel } = rig;
    await kernel.reached(10);
    const filler = join(disk, 'filler');
    const taken = fill(filler);
    const before = kernel.lastStep;
    const at = nowMs();
    say(`disk full: ${String(taken >> 20)} MiB of ${String(DISK_BYTES >> 20)} taken`);
    // What the engine frees meanwhile is taken too.
    while (nowMs() - at < (isShort ? FULL_MS / 2 : FULL_MS)) {
      fill(filler);
      await sleep(100);
    }
    const during = kernel.lastStep;
    const { panel } = await rig.status();
    const alerts = panel.alerts.map(({ text }) => text);
    const isTold = [...alerts, ...kernel.notices].some((text) =>
      /journal|ledger|disk|space/i.test(text),
    );
    rmSync(filler);
    const freed = nowMs();
    const next = await kernel.reached(kernel.lastStep + 5);
    await until('a quiet journal', async () => (await rig?.status()) !== undefined);
    const figures = await promisesOf(rig);
    return [
      note('steps while the disk was full', during - before),
      holds('the user is told', isTold),
      note('space freed to five more steps ms', next.atMs - freed),
      ...figures,
    ];
  } finally {
    await rig?.close();
    execFileSync('umount', [disk]);
    rmSync(disk, { recursive: true, force: true });
  }
}

export const DISKS: readonly Drill[] = [
  { name: 'disk', title: 'disk full under the journal', isInShort: false, run: diskFull },
];
