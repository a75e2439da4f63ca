/** @file Folders of sockets that killed engines leave are removed; nothing else in the temporary folder is touched. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { SocketOwner } from '../../../kernel/src/engine/socketOwner.js';
import {
  isOver,
  signFolder,
  sweepSockets,
  thisOwner,
} from '../../../kernel/src/engine/socketOwner.js';

const PREFIX = 'ravenlab-';
const HERE = thisOwner();

/** A process of this machine that has ended and was waited for. */
function deadOwner(script = ''): SocketOwner {
  return { ...HERE, pid: spawnSync(process.execPath, ['-e', script]).pid };
}

/** A process that was killed while it listened at `path`; its socket is still there. */
function killedAt(path: string): SocketOwner {
  const end = `() => process.kill(process.pid, 'SIGKILL')`;
  const owner = deadOwner(`net.createServer().listen(${JSON.stringify(path)}, ${end})`);
  expect(lstatSync(path).isSocket()).toBe(true);
  return owner;
}

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ravenlab-sweep-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** @param owner null for a folder that nobody signed. */
function folderOf(end: string, owner: SocketOwner | null): string {
  const folder = join(root, `${PREFIX}${end}`);
  mkdirSync(folder, { mode: 0o700 });
  if (owner !== null) signFolder(folder, owner);
  return folder;
}

test('what a killed engine left goes, what a living one uses stays', async () => {
  const dead = folderOf('Dead01', null);
  signFolder(dead, killedAt(join(dead, 'workers.sock')));
  folderOf('Live01', HERE);
  expect(await sweepSockets(root, PREFIX)).toEqual(['ravenlab-Dead01']);
  expect(readdirSync(root)).toEqual(['ravenlab-Live01']);
});

test('a link is neither followed nor removed, and what a link inside points to stays', async () => {
  const owner = deadOwner();
  const elsewhere = mkdtempSync(join(root, 'elsewhere-'));
  signFolder(elsewhere, owner);
  symlinkSync(elsewhere, join(root, `${PREFIX}Linked`));
  symlinkSync(elsewhere, join(folderOf('Inside', owner), 'workers.sock'));
  expect(await sweepSockets(root, PREFIX)).toEqual(['ravenlab-Inside']);
  expect(readdirSync(elsewhere)).toEqual(['owner.json']);
  expect(lstatSync(join(root, `${PREFIX}Linked`)).isSymbolicLink()).toBe(true);
});

test('what others may enter, nobody signed, or is no folder of sockets stays', async () => {
  const owner = deadOwner();
  chmodSync(folderOf('Open01', owner), 0o755);
  folderOf('NoSign', null);
  folderOf('bench-Abc123', owner);
  const nested = join(folderOf('Nested', owner), 'folder');
  mkdirSync(nested);
  expect(await sweepSockets(root, PREFIX)).toEqual([]);
  expect(readdirSync(root)).toHaveLength(4);
  expect(existsSync(nested)).toBe(true);
});

test.each([
  ['no JSON', '{'],
  ['nothing', 'null'],
  ['a process group', JSON.stringify({ ...HERE, pid: -1 })],
  ['a number as text', JSON.stringify({ ...HERE, pid: '77' })],
  ['no machine', JSON.stringify({ ...HERE, host: undefined, bootId: 'earlier' })],
  ['too much', JSON.stringify({ ...HERE, bootId: 'x'.repeat(ENGINE_LIMITS.ownerBytes) })],
])('a signature that says %s is none', async (_what, text) => {
  const folder = folderOf('Signed', null);
  writeFileSync(join(folder, 'owner.json'), text);
  expect(await sweepSockets(root, PREFIX)).toEqual([]);
  expect(existsSync(folder)).toBe(true);
});

test('a signature that is a link is none', async () => {
  const file = join(root, 'owner.json');
  writeFileSync(file, JSON.stringify(deadOwner()));
  symlinkSync(file, join(folderOf('Signed', null), 'owner.json'));
  expect(await sweepSockets(root, PREFIX)).toEqual([]);
});

test('a process is over when this machine can tell, and only then', () => {
  const dead = deadOwner();
  expect(isOver(HERE, HERE)).toBe(false);
  expect(isOver(dead, HERE)).toBe(true);
  expect(isOver({ ...HERE, bootId: 'an earlier boot' }, HERE)).toBe(true);
  expect(isOver({ ...dead, pidSpace: 'pid:[1]' }, HERE)).toBe(false);
  expect(isOver({ ...dead, host: 'another' }, HERE)).toBe(false);
  expect(isOver({ ...dead, host: 'another', bootId: 'another' }, HERE)).toBe(false);
});

const tellsStart = HERE.startedAt !== '';
(tellsStart ? test : test.skip)(
  `a number that another process has now is told by its start${tellsStart ? '' : ' (no /proc here)'}`,
  () => {
    expect(isOver({ ...HERE, startedAt: `${HERE.startedAt}0` }, HERE)).toBe(true);
  },
);
