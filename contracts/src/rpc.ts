/**
 * @file JSON-RPC with a node: one request after the other or side by side, each with a time limit, answers bounded. No provider: nothing
 * is cached, polled or guessed, so a block number is never stale.
 */
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';

interface RpcErrorBody {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly data?: unknown;
}

/** The node answered, and refused. */
export class RpcRefusal extends ChainError {
  /** What a contract reverted with, hex; null when there is none. */
  readonly revertData: string | null;

  constructor(method: string, error: RpcErrorBody) {
    const text = typeof error.message === 'string' ? error.message : 'no reason given';
    super(`${method}: the node refuses: ${text.slice(0, CHAIN_LIMITS.rpcMessageChars)}`);
    this.revertData = revertDataOf(error.data);
  }
}

/** The node did not answer, or not in words of JSON-RPC; worth another try. */
export class RpcUnreachable extends ChainError {
  constructor(url: string, why: string, cause: unknown) {
    super(
      `the chain does not answer at ${withoutSecrets(url)}: ${why}. Is the node running, is the URL right, is the network up?`,
      { retryable: true, cause },
    );
  }
}

export class Rpc {
  readonly url: string;
  private readonly timeoutMs: number;
  private nextId = 1;

  /** @throws ChainError when it is no http(s) URL. */
  constructor(url: string, timeoutMs: number = CHAIN_LIMITS.rpcMs) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new ChainError(`RPC URL '${url.slice(0, 200)}': expected http://… or https://…`, {
        fault: 'user',
      });
    }
    this.url = url;
    this.timeoutMs = timeoutMs;
  }

  /** @throws RpcRefusal with the node's reason; RpcUnreachable when there was no answer. */
  async call(method: string, params: readonly unknown[]): Promise<unknown> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.nextId++, method, params });
    const answer = await this.post(body);
    if (typeof answer !== 'object' || answer === null) this.fail('its answer is no JSON-RPC', null);
    const { result, error } = answer as { readonly result?: unknown; readonly error?: unknown };
    if (error !== undefined && error !== null) throw new RpcRefusal(method, error);
    if (result === undefined) this.fail('its answer has no result', null);
    return result;
  }

  private async post(body: string): Promise<unknown> {
    try {
      const response = await fetch(this.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        signal: AbortSignal.timeout(this.timeoutMs),
      });
      const text = await boundedText(response);
      try {
        return JSON.parse(text);
      } catch (cause) {
        return this.fail(`HTTP ${String(response.status)}, and no JSON`, cause);
      }
    } catch (error) {
      if (error instanceof ChainError) throw error;
      return this.fail(reasonOf(error, this.timeoutMs), error);
    }
  }

  private fail(why: string, cause: unknown): never {
    throw new RpcUnreachable(this.url, why, cause);
  }
}

/** The URL as people may see it: providers put keys into paths and queries. */
export function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) return '(not a URL)';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname.length > 1 ? '/…' : ''}`;
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  if (response.body === null) return '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > CHAIN_LIMITS.rpcAnswerBytes) {
      throw new Error(`its answer is longer than ${String(CHAIN_LIMITS.rpcAnswerBytes)} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** `fetch failed` hides what happened in its cause. */
function reasonOf(error: unknown, timeoutMs: number): string {
  // By name: a DOMException is not an Error everywhere.
  const { name, message, cause } = error as Partial<Error>;
  if (name === 'TimeoutError') return `no answer within ${String(timeoutMs)} ms`;
  const inner = (cause as Partial<Error> | undefined)?.message ?? '';
  return inner === '' ? (message ?? String(error)) : inner;
}

/** Nodes nest it differently. */
function revertDataOf(data: unknown): string | null {
  if (typeof data === 'string') return /^0x[0-9a-fA-F]*$/.test(data) ? data : null;
  if (typeof data !== 'object' || data === null) return null;
  return revertDataOf((data as { readonly data?: unknown }).data);
}
