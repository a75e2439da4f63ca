/** @file Programs on the wire: same program, same bytes; any other bytes are refused by value, never by a crash. */
import fc from 'fast-check';
import type { OpName } from '@ravenlab/protocol';
import {
  decodeProgram,
  encodeProgram,
  OP_NAMES,
  programCost,
  RemoteProtocolError,
  verifyProgram,
} from '@ravenlab/protocol';
import { programs } from './protocolArbitraries.js';

const RUNS = 1_000;

test('a program survives the wire, verified, with the same cost', () => {
  const seen = new Set<OpName>();
  fc.assert(
    fc.property(programs, (program) => {
      verifyProgram(program);
      const decoded = decodeProgram(encodeProgram(program));
      expect(decoded).toEqual({ ok: true, value: program });
      if (decoded.ok) expect(programCost(decoded.value)).toEqual(programCost(program));
      for (const { op } of program.nodes) seen.add(op);
    }),
    { numRuns: RUNS },
  );
  expect([...OP_NAMES].filter((op) => !seen.has(op))).toEqual([]);
});

test('the encoding is canonical: what decodes encodes to the very same bytes', () => {
  fc.assert(
    fc.property(programs, fc.nat(), fc.integer({ min: 0, max: 255 }), (program, where, value) => {
      const bytes = encodeProgram(program);
      bytes[where % bytes.length] = value;
      const decoded = decodeProgram(bytes);
      if (decoded.ok) expect(encodeProgram(decoded.value)).toEqual(bytes);
      else expect(decoded.error).toBeInstanceOf(RemoteProtocolError);
    }),
    { numRuns: RUNS },
  );
});

test('parameters in another order of keys give the same bytes', () => {
  fc.assert(
    fc.property(programs, (program) => {
      const reversed = program.nodes.map((node) => ({
        ...node,
        params: Object.fromEntries(Object.entries(node.params).reverse()),
      }));
      expect(encodeProgram({ ...program, nodes: reversed })).toEqual(encodeProgram(program));
    }),
    { numRuns: 200 },
  );
});

test('every truncation and every extension is refused', () => {
  fc.assert(
    fc.property(programs, fc.nat(), fc.integer({ min: 1, max: 9 }), (program, cut, extra) => {
      const bytes = encodeProgram(program);
      expect(decodeProgram(bytes.subarray(0, cut % bytes.length)).ok).toBe(false);
      const longer = new Uint8Array(bytes.length + extra);
      longer.set(bytes);
      expect(decodeProgram(longer).ok).toBe(false);
    }),
    { numRuns: RUNS },
  );
});

test('words set to extreme values are decoded or refused, quickly and by value', () => {
  const extreme = fc.constantFrom(-1, 0, 1, 2 ** 31 - 1, -(2 ** 31), 0x10000, 4096);
  fc.assert(
    fc.property(
      programs,
      fc.array(fc.tuple(fc.nat(), extreme), { minLength: 1, maxLength: 3 }),
      (program, edits) => {
        const words = new Int32Array(encodeProgram(program).slice().buffer);
        for (const [at, value] of edits) words[2 + (at % (words.length - 2))] = value;
        const decoded = decodeProgram(new Uint8Array(words.buffer));
        if (decoded.ok) verifyProgram(decoded.value);
        else expect(decoded.error).toBeInstanceOf(RemoteProtocolError);
      },
    ),
    { numRuns: RUNS },
  );
});

test('bytes at any offset in their buffer decode alike, also in a Node Buffer', () => {
  fc.assert(
    fc.property(programs, fc.nat(7), (program, offset) => {
      const bytes = encodeProgram(program);
      const host = Buffer.alloc(bytes.length + offset);
      host.set(bytes, offset);
      expect(decodeProgram(host.subarray(offset))).toEqual({ ok: true, value: program });
    }),
    { numRuns: 200 },
  );
});
