/** @file Commands of payments, from cells and from the panel: arguments checked and handed to the treasury. */
import type { PanelOp, PanelResults, SpendLimits } from '@ravenlab/protocol';
import { readPanelArgs } from '@ravenlab/protocol';
import type { TreasuryView } from './treasuryView.js';

type Args = Readonly<Record<string, unknown>>;
type PaymentOp = Extract<
  PanelOp,
  'settle' | 'deposit' | 'refund' | 'extend' | 'setLimits' | 'exportLedger'
>;
const orNull = (amount: string | null) => (amount === null ? null : BigInt(amount));

async function setLimits(treasury: TreasuryView, limits: SpendLimits): Promise<SpendLimits> {
  const { perLane, perHour, perRun } = await treasury.setLimits({
    perLane: orNull(limits.perLane),
    perHour: orNull(limits.perHour),
    perRun: orNull(limits.perRun),
  });
  const text = (amount: bigint | null) => amount?.toString() ?? null;
  return { perLane: text(perLane), perHour: text(perHour), perRun: text(perRun) };
}

/** Commands by name. Each throws RemoteProtocolError for arguments that do not fit. */
export function paymentCommands(
  treasury: TreasuryView,
): Readonly<Record<PaymentOp, (args: Args) => Promise<PanelResults[PaymentOp]>>> {
  return {
    settle: () => treasury.settle(),
    deposit: (args) => treasury.deposit(BigInt(readPanelArgs('deposit', args).amount)),
    refund: () => treasury.refund(),
    extend: (args) => treasury.extend(readPanelArgs('extend', args).expiryMs),
    setLimits: (args) => setLimits(treasury, readPanelArgs('setLimits', args)),
    exportLedger: (args) => treasury.exportLedger(readPanelArgs('exportLedger', args)),
  };
}
