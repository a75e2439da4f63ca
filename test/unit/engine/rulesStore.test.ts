/** @file The rules of a cluster on disk: kept whole, read back, and never half trusted. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Rules } from '../../../kernel/src/core/cluster/rules.js';
import { RulesStore } from '../../../kernel/src/engine/rulesStore.js';

const RULES: Rules = {
  banned: ['aa11'],
  caught: ['aa11'],
  wallets: [[`0x${'d'.repeat(40)}`, 'aa11']],
  verified: [['cc33', 12]],
  paused: ['bb22'],
  mixesClasses: true,
  pins: [['run-1', { bitClass: 'onnx-cpu x64 avx2', isFirm: true, isMixed: false }]],
};

let folder = '';
let troubles: string[] = [];
const store = () => new RulesStore(folder, (message) => troubles.push(message));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-rules-'));
  troubles = [];
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('rules are read back as they were written, and nothing else lies around', () => {
  expect(store().load()).toBeNull();
  store().save(RULES);
  expect(store().load()).toEqual(RULES);
  expect(readdirSync(folder)).toEqual(['rules.json']);
  expect(troubles).toEqual([]);
});

test.each([
  ['cut off', '{"banned":["aa'],
  ['of another shape', '{"banned":"all"}'],
  ['with an id as long as a book', JSON.stringify({ ...RULES, banned: ['a'.repeat(10_000)] })],
])('a file that is %s is told and not used', (_how, text) => {
  writeFileSync(join(folder, 'rules.json'), text);
  expect(store().load()).toBeNull();
  expect(troubles).toHaveLength(1);
});

test('a folder that is gone is told, and does not stop the engine', () => {
  const rules = store();
  rmSync(folder, { recursive: true });
  rules.save(RULES);
  expect(troubles).toHaveLength(1);
});
