/**
 * @file Which chain a person chose: RAVENLAB_CHAIN, else chain.json in RavenLab's folder, else a simulated one. Reads no settings: the
 * engine's loop asks this before anything else is loaded.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const SETTINGS_FILE = 'chain.json';

export type ChainChoice =
  | { readonly kind: 'off' }
  | { readonly kind: 'simulated' }
  | { readonly kind: 'settings'; readonly file: string };

/** @param home RavenLab's folder of this person */
export function chainChoice(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): ChainChoice {
  const chosen = env['RAVENLAB_CHAIN'] ?? '';
  if (chosen === 'off' || chosen === 'simulated') return { kind: chosen };
  if (chosen !== '') return { kind: 'settings', file: chosen };
  const file = join(home, SETTINGS_FILE);
  return existsSync(file) ? { kind: 'settings', file } : { kind: 'simulated' };
}
