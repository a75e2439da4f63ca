/** @file How a CURVE client begins: told from anything else at the first byte that differs, however it is cut. */
import fc from 'fast-check';
import {
  GREETING_BYTES,
  mayGreet,
  wireBytes,
} from '../../../../kernel/src/engine/gate/greeting.js';

/** As libzmq 4.3 sends it. */
const GREETING = Buffer.concat([
  Buffer.from('ff00000000000000017f0301', 'hex'),
  Buffer.from('CURVE'.padEnd(20, '\0'), 'latin1'),
  Buffer.alloc(32),
]);

/** Position of the first piece that is refused; -1 when all are let through. */
function refusedAt(bytes: Uint8Array, cuts: readonly number[]): number {
  const borders = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < borders.length; i++) {
    const [from, to] = [borders[i - 1] ?? 0, borders[i] ?? 0];
    if (from < GREETING_BYTES && !mayGreet(bytes.subarray(from, to), from)) return from;
  }
  return -1;
}

test('a client of libzmq may go on, and what follows its greeting is not looked at', () => {
  expect(GREETING).toHaveLength(GREETING_BYTES);
  fc.assert(
    fc.property(
      fc.array(fc.nat(GREETING_BYTES), { maxLength: 5 }),
      fc.uint8Array(),
      (cuts, rest) => {
        expect(refusedAt(Buffer.concat([GREETING, rest]), cuts)).toBe(-1);
      },
    ),
  );
});

test.each([
  ['a web browser', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ['TLS', Buffer.from('1603010200010001fc0303', 'hex')],
  ['a client without CURVE', Buffer.concat([GREETING.subarray(0, 12), Buffer.from('NULL')])],
  ['ZMTP 2', Buffer.from('ff00000000000000017f01', 'hex')],
  ['who wants to be the server', Buffer.concat([GREETING.subarray(0, 32), Buffer.of(1)])],
])('%s is turned away', (_, bytes) => {
  expect(mayGreet(bytes, 0)).toBe(false);
});

test('any change of the bytes that name protocol and mechanism is found', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0, 9, 12, 16, 17, 31, 32),
      fc.integer({ min: 1, max: 255 }),
      (at, by) => {
        const changed = Buffer.from(GREETING);
        changed[at] = ((changed[at] ?? 0) + by) % 256;
        expect(refusedAt(changed, [])).toBe(0);
      },
    ),
  );
});

test('frames are counted as CURVE and ZMTP frame them', () => {
  expect(wireBytes([])).toBe(0);
  expect(wireBytes([new Uint8Array(0)])).toBe(2 + 33);
  expect(wireBytes([new Uint8Array(222)])).toBe(2 + 33 + 222);
  expect(wireBytes([new Uint8Array(223), new Uint8Array(1000)])).toBe(2 * (9 + 33) + 1223);
});
