/** @file `--proxy`: the SOCKS5 server that a worker goes through, Tor's for example; and what would go past it. */
import { RavenError } from '@ravenlab/protocol';

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const HOST_AND_PORT = /^([0-9A-Za-z.-]{1,255}|\[[0-9a-fA-F:]{2,45}\]):(\d{1,5})$/;
const SCHEMES = ['socks5://', 'socks5h://'];

/**
 * `host:port` of a SOCKS5 server; it resolves names, so that even they do not leave this machine.
 * @param rpcUrl where the chain is asked. @throws RavenError when it is no such server, or when that question would give the worker away.
 */
export function readProxy(text: string | undefined, rpcUrl: string | null): string | null {
  if (text === undefined) return null;
  const scheme = SCHEMES.find((each) => text.startsWith(each));
  const server = scheme === undefined ? '' : text.slice(scheme.length).replace(/\/$/, '');
  const [, host, port] = HOST_AND_PORT.exec(server) ?? [];
  if (host === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw refusal(text, 'expected socks5://host:port, like socks5://127.0.0.1:9050');
  }
  if (rpcUrl !== null && !isOnThisMachine(rpcUrl)) {
    throw refusal(
      text,
      `questions to the chain at ${rpcUrl} would not go through it and show your address there; ` +
        'ask a node on this machine with --rpc http://127.0.0.1:…, or none',
    );
  }
  return `${host}:${String(port)}`;
}

function isOnThisMachine(url: string): boolean {
  try {
    return LOOPBACK.test(new URL(url).hostname);
  } catch {
    // Whoever uses it says what is wrong with it.
    return true;
  }
}

function refusal(text: string, problem: string): RavenError {
  return new RavenError('cluster', `--proxy ${text}: ${problem}`);
}
