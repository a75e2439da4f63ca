/**
 * @file The same cases on two chains side by side, with the same contract at the same address, as two networks would
 * have it: what was signed for one is the first thing to try on the other.
 */
import type { BaseWallet } from 'ethers';
import { Escrow } from './escrow.js';
import type { OpenedJob } from './escrow.js';
import { Stage } from './stage.js';

const CHAIN_IDS = [31_337, 31_338] as const;

/** What a case needs, filled in before it runs. */
export interface Scene {
  readonly escrow: Escrow;
  /** Of the other chain. */
  readonly other: Escrow;
  readonly ann: BaseWallet;
  readonly bob: BaseWallet;
  readonly eve: BaseWallet;
  readonly payer: string;
  readonly relayer: string;
  /** Opens a job of 1,000 with one lane, Ann's. */
  annsJob(cap?: bigint): Promise<OpenedJob>;
}

function sceneOf(escrow: Escrow, other: Escrow): Scene {
  const annsJob = (cap = 500n) => escrow.openWithLanes({ [escrow.cast.ann.address]: cap });
  return { escrow, other, ...escrow.cast, annsJob };
}

/** Describes `cases` once per chain; `scene` is valid inside tests only. */
export function onTwoChains(cases: (scene: () => Scene) => void): void {
  const escrows: Escrow[] = [];
  beforeAll(async () => {
    for (const chainId of CHAIN_IDS) escrows.push(await Escrow.deploy(await Stage.start(chainId)));
  });
  afterAll(async () => {
    await Promise.all(escrows.map((escrow) => escrow.stage.stop()));
  });
  describe.each(CHAIN_IDS.map((chainId, index) => [chainId, index]))(
    'on chain %d',
    (_chainId, index) => {
      cases(() => sceneOf(escrows[index]!, escrows[1 - index]!));
    },
  );
}
