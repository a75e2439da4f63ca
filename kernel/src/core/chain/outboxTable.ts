/** @file Life of a transaction in the outbox, as a table; the only place that says what may follow what. */

/**
 * `waiting`: not signed yet. `sent`: signed, stored and on its way. `mined`: in a block that may be taken back. `confirmed`: final.
 * `reverted`: in a block, without effect. `refused`: never sent. `replaced`: it can never be in a block.
 */
export type OutboxStatus =
  'waiting' | 'sent' | 'mined' | 'confirmed' | 'reverted' | 'refused' | 'replaced';
export type OutboxCause =
  'sign' | 'moot' | 'refuse' | 'mine' | 'fail' | 'confirm' | 'reorganise' | 'replace' | 'lose';

/**
 * `sign`: nonce and bytes are stored, then broadcast. `moot`: the chain has what it was for already. `refuse`: the contract would not
 * take it, so no nonce was used. `mine`, `fail`: in a block, with or without effect. `reorganise`: that block is gone; the same bytes
 * are sent again. `replace`: its nonce was used by something else. `lose`: the chain that it was for is gone.
 */
export const OUTBOX_TABLE = {
  waiting: { sign: 'sent', moot: 'confirmed', refuse: 'refused', lose: 'replaced' },
  sent: { mine: 'mined', fail: 'reverted', replace: 'replaced', lose: 'replaced' },
  mined: { confirm: 'confirmed', fail: 'reverted', reorganise: 'sent', lose: 'replaced' },
  reverted: { mine: 'mined', reorganise: 'sent' },
  confirmed: {},
  refused: {},
  replaced: {},
} as const satisfies Record<OutboxStatus, Partial<Record<OutboxCause, OutboxStatus>>>;

/** Null when this cannot happen now: another process that shares the outbox was quicker. */
export function nextOutboxStatus(status: OutboxStatus, cause: OutboxCause): OutboxStatus | null {
  const row: Partial<Record<OutboxCause, OutboxStatus>> = OUTBOX_TABLE[status];
  return row[cause] ?? null;
}
