/** @file JSON-RPC over one kept-alive connection: a tenth of the cost of a provider, for tests with many calls. */
import { Agent, request } from 'node:http';

interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: string;
}

/** An error that the chain answered with; `data` is what the contract reverted with. */
export class RpcFailure extends Error {
  readonly data: string | undefined;

  constructor(method: string, error: RpcError) {
    super(`${method}: ${error.message}`);
    this.data = typeof error.data === 'string' ? error.data : undefined;
  }
}

export class Rpc {
  readonly url: string;
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  private nextId = 1;

  constructor(url: string) {
    this.url = url;
  }

  /** @throws RpcFailure when the chain answers with an error. */
  async call(method: string, params: readonly unknown[]): Promise<unknown> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: this.nextId++, method, params });
    const answer = JSON.parse(await this.post(body)) as { result?: unknown; error?: RpcError };
    if (answer.error !== undefined) throw new RpcFailure(method, answer.error);
    return answer.result;
  }

  /** Several requests in one; results in the order of the calls. @throws RpcFailure for the first that failed. */
  async batch(calls: readonly (readonly [string, readonly unknown[]])[]): Promise<unknown[]> {
    if (calls.length === 0) return [];
    const requests = calls.map(([method, params]) => ({
      jsonrpc: '2.0',
      id: this.nextId++,
      method,
      params,
    }));
    const answers = JSON.parse(await this.post(JSON.stringify(requests))) as readonly {
      readonly id: number;
      readonly result?: unknown;
      readonly error?: RpcError;
    }[];
    const byId = new Map(answers.map((answer) => [answer.id, answer]));
    return requests.map(({ id, method }) => {
      const answer = byId.get(id);
      if (answer === undefined) throw new Error(`${method}: no answer`);
      if (answer.error !== undefined) throw new RpcFailure(method, answer.error);
      return answer.result;
    });
  }

  close(): void {
    this.agent.destroy();
  }

  private post(body: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      };
      const sent = request(this.url, { method: 'POST', agent: this.agent, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }
}
