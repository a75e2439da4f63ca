/** @file Forward cases of the ops that move, repeat or select elements. */
import type { EMIT_LAYOUT } from '../../../worker/src/compute/onnx/emitLayout.js';
import type { ForwardCases } from './caseInputs.js';
import { bools, f, floatsOf, ints } from './caseInputs.js';

export const LAYOUT_CASES: Pick<ForwardCases, keyof typeof EMIT_LAYOUT> = {
  reshape: [
    { name: 'to a scalar', inputs: [f(1, 1)], params: { shape: [] } },
    { name: 'from a scalar', inputs: [ints([], 7)], params: { shape: [1, 1] } },
    { name: 'bool', inputs: [bools([4], 1, 0, 0, 1)], params: { shape: [2, 2] } },
    { name: 'to itself', inputs: [f(2, 3)], params: { shape: [2, 3] } },
    { name: 'no elements', inputs: [f(0, 3)], params: { shape: [2, 0] } },
  ],
  transpose: [
    { name: 'int32', inputs: [ints([2, 3], 1, 2, 3, 4, 5, 6)], params: { perm: [1, 0] } },
    { name: 'bool', inputs: [bools([2, 2], 1, 0, 1, 1)], params: { perm: [1, 0] } },
    { name: 'rank 5', inputs: [f(2, 1, 3, 2, 2)], params: { perm: [4, 2, 0, 1, 3] } },
    { name: 'a scalar', inputs: [f()], params: { perm: [] } },
    { name: 'no elements', inputs: [f(0, 3)], params: { perm: [1, 0] } },
  ],
  broadcastTo: [
    { name: 'int32', inputs: [ints([3], 1, 2, 3)], params: { shape: [2, 3] } },
    { name: 'bool', inputs: [bools([2, 1], 1, 0)], params: { shape: [2, 3] } },
    { name: 'leading ones only', inputs: [f(3)], params: { shape: [1, 1, 3] } },
    { name: 'no elements', inputs: [f(1)], params: { shape: [0] } },
  ],
  concat: [
    { name: 'int32', inputs: [ints([2], 1, 2), ints([1], 3)], params: { axis: 0 } },
    { name: 'bool', inputs: [bools([1, 2], 1, 0), bools([1, 2], 0, 1)], params: { axis: 1 } },
    { name: 'an empty part', inputs: [f(2, 0), f(2, 3), f(2, 0)], params: { axis: 1 } },
    { name: 'empty parts only', inputs: [f(0, 2), f(0, 2)], params: { axis: 0 } },
    { name: 'forty parts', inputs: Array.from({ length: 40 }, () => f(1, 2)), params: { axis: 0 } },
  ],
  slice: [
    {
      name: 'int32',
      inputs: [ints([5], 1, 2, 3, 4, 5)],
      params: { begin: [1], end: [4], step: [2] },
    },
    { name: 'bool', inputs: [bools([4], 1, 0, 1, 1)], params: { begin: [2], end: [4], step: [1] } },
    { name: 'everything', inputs: [f(2, 3)], params: { begin: [0, 0], end: [2, 3], step: [1, 1] } },
    { name: 'nothing', inputs: [f(4, 2)], params: { begin: [2, 0], end: [2, 2], step: [1, 1] } },
    {
      name: 'rank 5',
      inputs: [f(3, 2, 2, 3, 4)],
      params: { begin: [1, 0, 1, 0, 1], end: [3, 2, 2, 3, 4], step: [1, 1, 1, 2, 3] },
    },
  ],
  pad: [
    { name: 'int32', inputs: [ints([2], 1, 2)], params: { before: [1], after: [2], value: -9 } },
    { name: 'bool', inputs: [bools([2], 0, 0)], params: { before: [0], after: [1], value: 1 } },
    { name: 'nothing', inputs: [f(2, 2)], params: { before: [0, 0], after: [0, 0], value: 0 } },
    {
      name: 'minus infinity',
      inputs: [f(2)],
      params: { before: [1], after: [0], value: -Infinity },
    },
    {
      name: 'around nothing',
      inputs: [f(0, 2)],
      params: { before: [1, 0], after: [2, 0], value: 4 },
    },
  ],
  tile: [
    { name: 'int32', inputs: [ints([2], 1, 2)], params: { repeats: [3] } },
    { name: 'bool', inputs: [bools([2], 1, 0)], params: { repeats: [2] } },
    { name: 'once', inputs: [f(2, 2)], params: { repeats: [1, 1] } },
    { name: 'a scalar', inputs: [f()], params: { repeats: [] } },
    { name: 'no elements', inputs: [f(0, 2)], params: { repeats: [3, 2] } },
  ],
  reverse: [
    { name: 'int32', inputs: [ints([3], 1, 2, 3)], params: { axes: [0] } },
    { name: 'bool', inputs: [bools([3], 1, 0, 0)], params: { axes: [0] } },
    { name: 'no axis', inputs: [f(3)], params: { axes: [] } },
    { name: 'no elements', inputs: [f(0, 2)], params: { axes: [0, 1] } },
  ],
  gather: [
    {
      name: 'int32 table',
      inputs: [ints([3], 7, 8, 9), ints([4], 2, -1, 3, 0)],
      params: { axis: 0 },
    },
    {
      name: 'bool table',
      inputs: [bools([3], 1, 1, 0), ints([4], 2, -1, 3, 0)],
      params: { axis: 0 },
    },
    {
      name: 'outside, middle axis',
      inputs: [f(2, 3, 4), ints([2, 2], 2, 3, -2_147_483_648, 0)],
      params: { axis: 1 },
    },
    {
      name: 'an infinite row stays where it is',
      inputs: [floatsOf([2, 1], Infinity, 3), ints([2], 1, 9)],
      params: { axis: 0 },
    },
    { name: 'no indices', inputs: [f(3, 2), ints([0])], params: { axis: 0 } },
    { name: 'an empty table', inputs: [f(0, 2), ints([2], 0, 1)], params: { axis: 0 } },
  ],
  scatterAdd: [
    {
      name: 'outside is dropped',
      inputs: [ints([4], -1, 3, 0, 2_147_483_647), f(4, 3)],
      params: { size: 3 },
    },
    { name: 'scalars', inputs: [ints([5], 1, 1, 1, 0, 1), f(5)], params: { size: 2 } },
    {
      name: 'a matrix of indices',
      inputs: [ints([2, 2], 0, 1, 1, 0), f(2, 2, 3)],
      params: { size: 2 },
    },
    { name: 'wide rows', inputs: [ints([3], 2, 0, 2), f(3, 2, 3)], params: { size: 4 } },
    {
      name: 'more places than rows, of which some meet and one is dropped',
      inputs: [ints([6], 8, 0, 8, -5, 11, 0), f(6, 3)],
      params: { size: 12 },
    },
    {
      name: 'an infinite row that is dropped',
      inputs: [ints([2], 9, 0), floatsOf([2, 1], Infinity, 1)],
      params: { size: 1 },
    },
    { name: 'no rows', inputs: [ints([0]), f(0, 2)], params: { size: 3 } },
  ],
  oneHot: [
    { name: 'classes', inputs: [ints([4], 0, 2, 1, 2)], params: { depth: 3 } },
    { name: 'outside gives zeros', inputs: [ints([3], -1, 3, 1)], params: { depth: 3 } },
    { name: 'a scalar', inputs: [ints([], 1)], params: { depth: 2 } },
    { name: 'no rows', inputs: [ints([0])], params: { depth: 2 } },
  ],
};
