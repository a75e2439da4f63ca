/** @file What becomes of an audit that has decided nothing: a table of cases. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Fate, OpenAudit } from '../../../../kernel/src/core/verify/fate.js';
import { fateOf } from '../../../../kernel/src/core/verify/fate.js';

const { auditDisputes, auditFailures, auditWaitMs } = ENGINE_LIMITS;
const FRESH: OpenAudit = {
  ...{ disputes: 0, failures: 0, isTrusted: false },
  ...{ isPossible: true, isAnybodyHere: true, waitedMs: 0 },
};
const NOBODY = { isPossible: false, isAnybodyHere: false };
const NO_JUDGE = { isPossible: false, isAnybodyHere: true };

test.each<readonly [why: string, audit: Partial<OpenAudit>, fate: Fate]>([
  ['somebody may judge', {}, 'ask'],
  ['two results differ, a third may decide', { disputes: 1 }, 'ask'],
  ['a judge failed, another may not', { failures: 1 }, 'ask'],
  ['no two of four results agree', { disputes: auditDisputes }, 'redo'],
  [
    "the user's own worker cannot compute it",
    { failures: auditFailures, isTrusted: true },
    'unverified',
  ],
  ['strangers say that they cannot compute it', { failures: auditFailures }, 'redo'],
  ['nobody is here yet', NOBODY, 'wait'],
  ['only workers whose results cannot be compared are here, for now', NO_JUDGE, 'wait'],
  ['nobody came', { ...NOBODY, waitedMs: auditWaitMs }, 'unverified'],
  ['nobody came whose result can be compared', { ...NO_JUDGE, waitedMs: auditWaitMs }, 'redo'],
  ['two differ, and no third came', { ...NOBODY, disputes: 1, waitedMs: auditWaitMs }, 'redo'],
  ['somebody came late', { waitedMs: 2 * auditWaitMs }, 'ask'],
])('%s: %j → %s', (_why, audit, fate) => {
  expect(fateOf({ ...FRESH, ...audit })).toBe(fate);
});

test('an answer that two others contradict, or that strangers alone fail to repeat, never counts unseen', () => {
  for (let disputes = 0; disputes <= auditDisputes; disputes++) {
    for (let failures = 0; failures <= auditFailures; failures++) {
      for (const waitedMs of [0, auditWaitMs]) {
        const fate = fateOf({ ...FRESH, disputes, failures, waitedMs });
        if (disputes > 0 || failures > 0) expect(fate).not.toBe('unverified');
      }
    }
  }
});
