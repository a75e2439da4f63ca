/** @file The chain of an engine's process, as it was chosen. */
import { join } from 'node:path';
import type { EngineId } from '@ravenlab/protocol';
import { dataHome, engineFolder } from '../engineId.js';
import type { ChainChoice } from './chainChoice.js';
import { ChainProxy } from './chainProxy.js';
import type { ChainService } from './chainService.js';
import { NO_CHAIN } from './noChain.js';

/** In the engine's folder: the simulated chain's state, and what was asked of it. */
const FOLDER = 'chain';

/** Begins in the background a moment later; nothing waits for it. */
export function engineChain(
  choice: ChainChoice,
  engineId: EngineId,
  log: (text: string) => void,
): ChainService {
  if (choice.kind === 'off') return NO_CHAIN;
  const folder = join(engineFolder(engineId), FOLDER);
  return new ChainProxy({ choice, home: dataHome(), folder, owner: engineId, log });
}
