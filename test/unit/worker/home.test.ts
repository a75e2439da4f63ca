/**
 * @file What a worker keeps: one identity per running process, private files, speeds.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RavenError } from '@ravenlab/protocol';
import { knownSpeed, persistentIdentity, rememberSpeed } from '../../../worker/src/home.js';
import { z85ToHex } from '@ravenlab/protocol';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'ravenlab-home-'));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

/** No process has it: above the largest pid that Linux gives. */
const NO_PROCESS = 2 ** 22 + 1;

describe('an identity', () => {
  test('stays the same over starts and counts them', () => {
    const first = persistentIdentity(home);
    first.release();
    const second = persistentIdentity(home);
    expect(second.workerId).toBe(first.workerId);
    expect([first.incarnation, second.incarnation]).toEqual([1, 2]);
  });

  test('belongs to one running process', () => {
    const first = persistentIdentity(home);
    const second = persistentIdentity(home);
    expect(second.workerId).not.toBe(first.workerId);
    first.release();
    expect(persistentIdentity(home).workerId).toBe(first.workerId);
  });

  test('is taken over from a process that was killed', () => {
    writeFileSync(join(home, 'identity-1.lock'), String(NO_PROCESS));
    persistentIdentity(home);
    expect(readdirSync(home).sort()).toEqual(['identity-1.json', 'identity-1.lock']);
  });

  test('is readable by its owner only', () => {
    persistentIdentity(home);
    expect(statSync(join(home, 'identity-1.json')).mode & 0o777).toBe(0o600);
  });

  test('that is damaged is reported, not replaced', () => {
    writeFileSync(join(home, 'identity-1.json'), '{"publicKey": 7');
    expect(() => persistentIdentity(home)).toThrow(RavenError);
    expect(() => persistentIdentity(home)).toThrow(/identity-1.json is not a worker's identity/);
  });
});

test('speeds are remembered by device, and nonsense is measured again', () => {
  expect(knownSpeed(home, 'cpu · 4')).toBeNull();
  rememberSpeed(home, 'cpu · 4', 207.5);
  rememberSpeed(home, 'cpu · 2', 100);
  expect([knownSpeed(home, 'cpu · 4'), knownSpeed(home, 'cpu · 2')]).toEqual([207.5, 100]);
  writeFileSync(join(home, 'speeds.json'), '{"cpu · 4": "fast"}');
  expect(knownSpeed(home, 'cpu · 4')).toBeNull();
});

test('Z85 keys are read as ZeroMQ writes them', () => {
  // RFC 32: the test vector of the specification.
  expect(z85ToHex('HelloWorld')).toBe('864fd26fb559f75b');
  expect(() => z85ToHex('abc')).toThrow(/3 characters/);
  expect(() => z85ToHex('ab"de')).toThrow(/not a Z85 digit/);
  expect(() => z85ToHex('#####')).toThrow(/above 2\^32/);
});
