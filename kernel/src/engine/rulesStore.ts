/**
 * @file The user's rules (bans, pauses, mixed classes) and the bit classes of runs in one small file of the engine's folder,
 * replaced whole when they change. Bans and promises must hold for an engine that starts again.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import type { Rules } from '../core/cluster/rules.js';

const FILE = 'rules.json';

export class RulesStore {
  private readonly file: string;
  private readonly onTrouble: (message: string) => void;
  private text = '';
  private isTroubled = false;

  /** @param onTrouble the file could not be written; the rules hold until this process ends. */
  constructor(folder: string, onTrouble: (message: string) => void) {
    this.file = join(folder, FILE);
    this.onTrouble = onTrouble;
  }

  /** What was kept, or null. A file that is not ours is told, and nothing is taken from it. */
  load(): Rules | null {
    if (!existsSync(this.file)) return null;
    try {
      const text = readFileSync(this.file, 'utf8');
      const rules = readRules(JSON.parse(text));
      this.text = text;
      return rules;
    } catch (error) {
      this.onTrouble(
        `${this.file} cannot be read (${String(error)}): bans and pauses must be set again`,
      );
      return null;
    }
  }

  /** Writes the rules if they changed. @returns whether they are kept. */
  save(rules: Rules): boolean {
    const text = JSON.stringify(rules);
    if (text === this.text) return true;
    try {
      const draft = `${this.file}.draft`;
      writeFileSync(draft, text, { mode: 0o600 });
      renameSync(draft, this.file);
      this.text = text;
      this.isTroubled = false;
      return true;
    } catch (error) {
      // Told once: it may be tried with every step.
      if (!this.isTroubled) {
        this.onTrouble(`the rules of the cluster could not be kept: ${String(error)}`);
      }
      this.isTroubled = true;
      return false;
    }
  }
}

function readRules(value: unknown): Rules {
  const { banned, paused, caught, wallets, verified, mixesClasses, pins } = value as Partial<
    Record<keyof Rules, unknown>
  >;
  return {
    banned: listOf(banned, workerId),
    paused: listOf(paused, workerId),
    // A file of an earlier release has none of these.
    caught: listOf(caught ?? [], workerId),
    wallets: listOf(wallets ?? [], (entry) => {
      const [wallet, worker] = entry as [unknown, unknown];
      return [text(wallet, LIMITS.keyHexDigits), workerId(worker)] as const;
    }),
    verified: listOf(verified ?? [], (entry) => {
      const [worker, count] = entry as [unknown, unknown];
      return [workerId(worker), wholeNumber(count)] as const;
    }),
    mixesClasses: mixesClasses === true,
    pins: listOf(pins, (entry) => {
      const [run, pin] = entry as [unknown, Partial<Record<string, unknown>>];
      const bitClass = text(pin['bitClass'], LIMITS.bitClassChars);
      const isMixed = pin['isMixed'] === true;
      return [text(run, LIMITS.idChars), { bitClass, isFirm: true, isMixed }] as const;
    }),
  };
}

const workerId = (value: unknown): string => text(value, LIMITS.keyHexDigits);

function wholeNumber(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new TypeError('expected a whole number');
}

function text(value: unknown, maxChars: number): string {
  if (typeof value === 'string' && value.length <= maxChars) return value;
  throw new TypeError(`expected a text of at most ${String(maxChars)} characters`);
}

function listOf<T>(value: unknown, read: (item: unknown) => T): readonly T[] {
  if (!Array.isArray(value) || value.length > ENGINE_LIMITS.standings) {
    throw new TypeError(`expected a list of at most ${String(ENGINE_LIMITS.standings)}`);
  }
  return value.map(read);
}
