/** @file Who is owed what: metered work in total and for each contributor, and the account it is paid from. */
import type { CoinScale, Payee, PaymentsSummary } from '@ravenlab/protocol';
import { NO_VALUE, coinScaleFor, displayName, formatAmount, formatCount } from '@ravenlab/protocol';
import { sharesOf } from '../model/contributorRows.js';
import { settlementLabel } from '../model/paymentsText.js';
import type { Translate } from '../model/wording.js';
import { AccountCard } from './accountCard.js';
import { useServices } from './context.js';
import { Pill, Section } from './parts.js';
import { TransactionList } from './transactionList.js';

/** Rows beyond these are in the total only. */
const MAX_ROWS = 100;

interface Column {
  readonly key: 'metered' | 'held' | 'vouchered' | 'settled';
  readonly label: (trans: Translate) => string;
  readonly title: (trans: Translate) => string;
}

/** From work to money in its owner's account. */
const COLUMNS: readonly Column[] = [
  {
    key: 'metered',
    label: (trans) => trans.__('Earned'),
    title: (trans) => trans.__('All accepted work'),
  },
  {
    key: 'held',
    label: (trans) => trans.__('Held'),
    title: (trans) => trans.__('Not checked yet: paid when it is found good'),
  },
  {
    key: 'vouchered',
    label: (trans) => trans.__('Vouchered'),
    title: (trans) => trans.__('Promised in a signed voucher that its owner can redeem alone'),
  },
  {
    key: 'settled',
    label: (trans) => trans.__('Settled'),
    title: (trans) => trans.__('Paid on the chain'),
  },
];

function MeteredTable(props: { readonly payments: PaymentsSummary; readonly coin: CoinScale }) {
  const { trans } = useServices();
  const { payees, totalMetered } = props.payments;
  const { coin } = props;
  return (
    <table className="rvn-table rvn-payees">
      <caption className="rvn-sr">{trans.__('Metered for each contributor')}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Contributor')}</th>
          <th scope="col">{trans.__('Units')}</th>
          <th scope="col">{trans.__('Share')}</th>
          <th scope="col">{coin.unit === '' ? trans.__('Amount') : coin.unit}</th>
        </tr>
      </thead>
      <tbody>
        {sharesOf(payees, totalMetered)
          .slice(0, MAX_ROWS)
          .map(({ payee, share }) => (
            <tr key={payee.workerId} data-worker={payee.workerId}>
              <th scope="row">{displayName(payee)}</th>
              <td>{formatCount(payee.units)}</td>
              <td className="rvn-share">
                <span style={{ width: `${(share * 100).toFixed(1)}%` }} />
                <small>{`${(share * 100).toFixed(0)} %`}</small>
              </td>
              <td data-rvn="metered">{formatAmount(payee.metered, coin.decimals)}</td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}

/** Who works unpaid has nothing behind what it earned; the engine's own workers need no voucher to be settled with. */
function hasNone(payee: Payee, key: Column['key']): boolean {
  if (key === 'vouchered') return payee.vouchered === '0';
  return key !== 'metered' && payee.address === null;
}

function LaneRow(props: { readonly payee: Payee; readonly coin: CoinScale }) {
  const { trans } = useServices();
  const { payee, coin } = props;
  const who =
    payee.address ?? trans.__('works unpaid: one of your own machines, or without a wallet');
  return (
    <tr data-worker={payee.workerId}>
      <th scope="row" title={`${displayName(payee)}\n${who}`}>
        {displayName(payee)}
      </th>
      {COLUMNS.map(({ key }) => (
        <td key={key} data-rvn={key}>
          {hasNone(payee, key) ? NO_VALUE : formatAmount(payee[key], coin.decimals)}
        </td>
      ))}
    </tr>
  );
}

function LaneTable(props: { readonly payments: PaymentsSummary; readonly coin: CoinScale }) {
  const { trans } = useServices();
  const { payees, totalMetered } = props.payments;
  return (
    <div className="rvn-tableFrame">
      <table className="rvn-table rvn-lanes">
        <caption className="rvn-sr">
          {trans.__('Pay of each contributor in %1', props.coin.unit)}
        </caption>
        <thead>
          <tr>
            <th scope="col">{props.coin.unit}</th>
            {COLUMNS.map(({ key, label, title }) => (
              <th key={key} scope="col" title={title(trans)}>
                {label(trans)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sharesOf(payees, totalMetered)
            .slice(0, MAX_ROWS)
            .map(({ payee }) => (
              <LaneRow key={payee.workerId} payee={payee} coin={props.coin} />
            ))}
        </tbody>
      </table>
    </div>
  );
}

function Payees(props: { readonly payments: PaymentsSummary; readonly coin: CoinScale }) {
  const { trans } = useServices();
  const { payments } = props;
  if (payments.payees.length === 0) {
    return <p className="rvn-hint">{trans.__('Every accepted unit of work is metered here.')}</p>;
  }
  return payments.chain === null ? <MeteredTable {...props} /> : <LaneTable {...props} />;
}

export function PaymentsSection(props: {
  readonly payments: PaymentsSummary;
  /** The kernel's clock when it sent them; ms. */
  readonly atMs: number;
}) {
  const { trans } = useServices();
  const { payments, atMs } = props;
  const coin = coinScaleFor(payments.totalMetered, payments);
  const { chain } = payments;
  return (
    <Section title={trans.__('Payments')} actions={<Pill label={settlementLabel(payments)} />}>
      <div className="rvn-total">
        <output data-rvn="total">{formatAmount(payments.totalMetered, coin.decimals)}</output>
        <span>{coin.unit}</span>
        <small>{payments.unitPriceText}</small>
        {payments.settlingText === null ? null : <small>{payments.settlingText}</small>}
      </div>
      {payments.problem === null ? null : (
        <p className="rvn-note" data-tone={payments.settlement === 'problem' ? 'bad' : 'warn'}>
          {payments.problem}
        </p>
      )}
      {chain === null ? null : <AccountCard payments={payments} chain={chain} atMs={atMs} />}
      <Payees payments={payments} coin={coin} />
      <TransactionList payments={payments} />
    </Section>
  );
}
