/**
 * @file What one or two nodes say of a chain: its newest block, and the newest that counts. Of two, both have to hold a block to be final
 * before it counts, and a block that is not the same at both means that one is wrong: then nothing is signed.
 */
import type { Block, ChainClient } from '@ravenlab/contracts';
import { RpcRefusal, withoutSecrets } from '@ravenlab/contracts';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import { confirmedBlock } from '../../core/chain/eventWindow.js';

/** Blocks on top of one, itself included, before it counts; or what the network calls final. */
export type Finality = number | 'finalized';

export interface Nodes {
  readonly chain: ChainClient;
  /** Null where the settings name one node only. */
  readonly second: ChainClient | null;
  readonly finality: Finality;
}

export interface ChainView {
  /** Of the first node: what is sent is made from it. */
  readonly head: Block;
  /** The newest block that counts; below 0 when none does. */
  readonly confirmed: number;
}

/** Two nodes contradict each other. Nothing is signed until they agree again. */
export class NodesDisagree extends ChainError {
  constructor({ chain, second }: Pick<Nodes, 'chain' | 'second'>, what: string) {
    const names = [chain, second].map((node) => withoutSecrets(node?.rpc.url ?? ''));
    super(
      `the two nodes contradict each other: ${what} (first ${names[0] ?? ''}, second ${names[1] ?? ''}). Nothing is signed until ` +
        'they agree: find out which is right, and name another one in the settings',
      { retryable: true },
    );
  }
}

/** What a network's settings mean: what it calls final where its nodes say so, else so many blocks. */
export async function finalityOf(
  nodes: readonly ChainClient[],
  wanted: number | null,
): Promise<Finality> {
  if (wanted !== null) return wanted;
  const answers = await Promise.all(nodes.map(finalizedOf));
  return answers.includes(null) ? CHAIN_LIMITS.confirmations : 'finalized';
}

/** Null when the node knows no such thing. */
async function finalizedOf(chain: ChainClient): Promise<number | null> {
  try {
    return (await chain.block('finalized'))?.number ?? null;
  } catch (error) {
    if (error instanceof RpcRefusal) return null;
    throw error;
  }
}

/** @throws NodesDisagree; ChainError when one does not answer, or is too far behind to be compared with. */
export async function lookAt(nodes: Nodes): Promise<ChainView> {
  const { chain, second, finality } = nodes;
  const head = await chain.head();
  const own = await confirmedOf(chain, head, finality);
  if (second === null) return { head, confirmed: own };
  const other = await second.head();
  checkLag(nodes, head, other);
  const confirmed = Math.min(own, await confirmedOf(second, other, finality));
  if (confirmed >= 0) {
    const [here, there] = await Promise.all([chain.block(confirmed), second.block(confirmed)]);
    if (here === null || here.hash !== there?.hash) {
      throw new NodesDisagree(
        nodes,
        `block ${String(confirmed)} is ${here?.hash ?? 'unknown'} at the first and ${there?.hash ?? 'unknown'} at the second`,
      );
    }
  }
  return { head, confirmed };
}

async function confirmedOf(chain: ChainClient, head: Block, finality: Finality): Promise<number> {
  if (finality !== 'finalized') return confirmedBlock(head.number, finality);
  const final = await finalizedOf(chain);
  if (final !== null) return final;
  throw new ChainError(
    `${withoutSecrets(chain.rpc.url)} does not say any more which block is final: expected an answer to 'finalized'; set ` +
      '"confirmations" to a number of blocks, or name another node',
    { retryable: true },
  );
}

/** A node that stands still would hold up what counts for ever, without a word. */
function checkLag({ chain, second }: Nodes, head: Block, other: Block): void {
  const lagS = Math.abs(head.timestamp - other.timestamp);
  if (lagS <= CHAIN_LIMITS.nodeLagS) return;
  const slow = head.timestamp < other.timestamp ? chain : second;
  throw new ChainError(
    `the node ${withoutSecrets(slow?.rpc.url ?? '')} is ${String(lagS)} s behind the other one, at most ${String(CHAIN_LIMITS.nodeLagS)} ` +
      'are expected: nothing is sent until it has caught up, or the settings name another one',
    { retryable: true },
  );
}
