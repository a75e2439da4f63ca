/** @file What one more result says about an answer under audit. */
import type { Finding } from '../../../../kernel/src/core/verify/finding.js';
import { findingOf } from '../../../../kernel/src/core/verify/finding.js';

const CASES: readonly (readonly [string, boolean, boolean, boolean | null, Finding])[] = [
  ["the user's own worker agrees", true, true, null, 'clean'],
  ["the user's own worker gets another result", true, false, null, 'caught'],
  ['a stranger agrees', false, true, null, 'clean'],
  ['one stranger stands against one', false, false, null, 'undecided'],
  ['a third one agrees with the answer', false, true, false, 'clean'],
  ['two others agree on another result', false, false, true, 'caught'],
  ['three results all differ', false, false, false, 'undecided'],
];

test.each(CASES)('%s', (_, isTrusted, agreesWithAnswer, agreesWithRival, finding) => {
  expect(findingOf({ isTrusted, agreesWithAnswer, agreesWithRival })).toBe(finding);
});
