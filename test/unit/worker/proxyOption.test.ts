/** @file `--proxy`: which servers it names, and what is refused because it would give its user away. */
import { readProxy } from '../../../worker/src/proxyOption.js';

test.each([
  ['socks5://127.0.0.1:9050', '127.0.0.1:9050'],
  ['socks5h://tor.local:9150/', 'tor.local:9150'],
  ['socks5://[::1]:1080', '[::1]:1080'],
])('%s is the server %s', (text, server) => {
  expect(readProxy(text, null)).toBe(server);
  expect(readProxy(text, 'http://127.0.0.1:8545')).toBe(server);
});

test('none is none', () => {
  expect(readProxy(undefined, 'https://rpc.example')).toBeNull();
});

test.each([
  '127.0.0.1:9050',
  'http://127.0.0.1:9050',
  'socks4://127.0.0.1:9050',
  'socks5://127.0.0.1',
  'socks5://127.0.0.1:0',
  'socks5://127.0.0.1:65536',
  'socks5://user:word@127.0.0.1:9050',
])('%s is refused with an example', (text) => {
  expect(() => readProxy(text, null)).toThrow('like socks5://127.0.0.1:9050');
});

test('a chain elsewhere would be asked past the proxy', () => {
  expect(() => readProxy('socks5://127.0.0.1:9050', 'https://rpc.example/x')).toThrow(
    /rpc\.example\/x would not go through it/,
  );
  expect(() => readProxy('socks5://127.0.0.1:9050', 'http://127.0.0.1.example')).toThrow(
    /would not go through it/,
  );
});
