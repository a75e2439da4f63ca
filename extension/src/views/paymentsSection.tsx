/** @file What the ledger has metered, in total and for each contributor. */
import type { PaymentsSummary, Settlement } from '@ravenlab/protocol';
import { coinScaleFor, displayName, formatAmount, formatCount } from '@ravenlab/protocol';
import type { Translate } from '../model/wording.js';
import { sharesOf } from '../model/contributorRows.js';
import { useServices } from './context.js';
import { Section } from './parts.js';

const SETTLEMENT_TEXT: Readonly<Record<Settlement, (trans: Translate) => string>> = {
  off: (trans) => trans.__('Not on a chain'),
  starting: (trans) => trans.__('Chain starts'),
  ready: (trans) => trans.__('On chain'),
  problem: (trans) => trans.__('Problem'),
};

/** Rows beyond these are in the total only. */
const MAX_ROWS = 100;

function PayeeTable(props: { readonly payments: PaymentsSummary }) {
  const { trans } = useServices();
  const { payees, totalMetered } = props.payments;
  const coin = coinScaleFor(totalMetered, props.payments);
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
              <td data-rvn="amount">{formatAmount(payee.metered, coin.decimals)}</td>
            </tr>
          ))}
      </tbody>
    </table>
  );
}

export function PaymentsSection(props: { readonly payments: PaymentsSummary }) {
  const { trans } = useServices();
  const { payments } = props;
  const coin = coinScaleFor(payments.totalMetered, payments);
  const badge = (
    <span className="rvn-pill" data-tone="quiet">
      {SETTLEMENT_TEXT[payments.settlement](trans)}
    </span>
  );
  return (
    <Section title={trans.__('Payments')} actions={badge}>
      <div className="rvn-total">
        <output data-rvn="total">{formatAmount(payments.totalMetered, coin.decimals)}</output>
        <span>{coin.unit}</span>
        <small>{payments.unitPriceText}</small>
      </div>
      {payments.payees.length === 0 ? (
        <p className="rvn-hint">{trans.__('Every accepted unit of work is metered here.')}</p>
      ) : (
        <PayeeTable payments={payments} />
      )}
    </Section>
  );
}
