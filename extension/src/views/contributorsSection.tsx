/** @file Who works: one row a worker in a sortable table. */
import { runIcon } from '@jupyterlab/ui-components';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { CoinScale, Contributor, PaymentsSummary } from '@ravenlab/protocol';
import {
  coinScaleFor,
  displayName,
  formatAmount,
  formatBytes,
  formatCount,
  formatGflops,
  formatLatency,
  formatRate,
} from '@ravenlab/protocol';
import type { RefObject } from 'react';
import { memo, useMemo, useRef, useState } from 'react';
import { banIcon, drainIcon, pauseIcon } from '../icons.js';
import type { SortKey, SortOrder } from '../model/contributorRows.js';
import { nextOrder, sortContributors } from '../model/contributorRows.js';
import { canBan, canDrain, canPause, canResume } from '../model/rowActions.js';
import { CONTRIBUTOR_LABELS } from '../model/wording.js';
import type { Translate } from '../model/wording.js';
import { CommandIds } from '../tokens.js';
import { useServices } from './context.js';
import { Dot, IconButton, Section } from './parts.js';
import { useRowWindow } from './useRowWindow.js';

/** Height of a row, with its border; panel.css holds it to that. */
const ROW_PX = 44;

interface RowAction {
  readonly command: string;
  readonly icon: LabIcon;
  readonly isFor: (row: Contributor) => boolean;
  readonly title: (trans: Translate, name: string) => string;
}

/** What can be done to a worker; the order is that of the buttons. */
const ROW_ACTIONS: readonly RowAction[] = [
  {
    command: CommandIds.resume,
    icon: runIcon,
    isFor: canResume,
    title: (trans, name) => trans.__('Resume %1: it gets work again', name),
  },
  {
    command: CommandIds.drain,
    icon: drainIcon,
    isFor: canDrain,
    title: (trans, name) => trans.__('Drain %1: it ends what it has, and gets no more', name),
  },
  {
    command: CommandIds.pause,
    icon: pauseIcon,
    isFor: canPause,
    title: (trans, name) => trans.__('Pause %1: others take over at once', name),
  },
  {
    command: CommandIds.ban,
    icon: banIcon,
    isFor: canBan,
    title: (trans, name) => trans.__('Ban %1…', name),
  },
];

function ColumnHead(props: {
  readonly sortKey: SortKey;
  readonly label: string;
  readonly order: SortOrder;
  readonly onSort: (key: SortKey) => void;
}) {
  const { sortKey, label, order, onSort } = props;
  const isActive = order.key === sortKey;
  const direction = order.isDescending ? 'descending' : 'ascending';
  return (
    <th scope="col" aria-sort={isActive ? direction : 'none'} data-key={sortKey}>
      <button type="button" onClick={() => onSort(sortKey)}>
        <span aria-hidden="true">{isActive ? (order.isDescending ? '↓ ' : '↑ ') : ''}</span>
        {label}
      </button>
    </th>
  );
}

function RowActions(props: { readonly row: Contributor }) {
  const { commands, trans } = useServices();
  const { row } = props;
  return (
    <span className="rvn-rowActions" role="group" aria-label={trans.__('Actions')}>
      {ROW_ACTIONS.filter(({ isFor }) => isFor(row)).map(({ command, icon, title }) => (
        <IconButton
          key={command}
          className="rvn-rowAction"
          icon={icon}
          title={title(trans, displayName(row))}
          onClick={() => void commands.execute(command, { workerId: row.workerId })}
        />
      ))}
    </span>
  );
}

const ContributorRow = memo(function ContributorRow(props: {
  readonly row: Contributor;
  readonly coin: CoinScale;
}) {
  const { trans } = useServices();
  const { row } = props;
  const label = CONTRIBUTOR_LABELS[row.state];
  const place = row.local ? trans.__('this computer') : row.device;
  const isWell = row.state === 'busy' || row.state === 'idle';
  const details = [
    row.workerId,
    row.device,
    row.backend,
    formatGflops(row.gflops),
    formatBytes(row.memoryBytes),
  ].join('\n');
  return (
    <tr data-worker={row.workerId} data-state={row.state}>
      <th scope="row" title={details}>
        <span className="rvn-who">
          <Dot tone={label.tone} text={label.text(trans)} />
          <b>{displayName(row)}</b>
          <RowActions row={row} />
        </span>
        <span className="rvn-what">
          {isWell ? place : label.text(trans)} · {row.backend}
        </span>
      </th>
      <td data-rvn="units">
        {formatCount(row.unitsDone)}
        {row.unitsFailed === 0 ? null : (
          <span className="rvn-failed" title={trans.__('failed units')}>
            {trans.__('%1 failed', formatCount(row.unitsFailed))}
          </span>
        )}
      </td>
      <td data-rvn="rate">{formatRate(row.samplesPerSecond)}</td>
      <td data-rvn="latency">{formatLatency(row.latencyMs)}</td>
      <td data-rvn="earned">{formatAmount(row.earnedUnits, props.coin.decimals)}</td>
    </tr>
  );
});

/** The same object until the unit changes, so that rows that did not change are not drawn again. */
function useCoin(payments: PaymentsSummary): CoinScale {
  const { unit, decimals } = coinScaleFor(payments.totalMetered, payments);
  return useMemo(() => ({ unit, decimals }), [unit, decimals]);
}

/** Stands for rows that are not drawn. */
function Gap(props: {
  readonly rows: number;
  readonly bodyRef?: RefObject<HTMLTableSectionElement>;
}) {
  return (
    <tbody ref={props.bodyRef} className="rvn-gap" aria-hidden="true">
      {props.rows === 0 ? null : (
        <tr style={{ height: props.rows * ROW_PX }}>
          <td colSpan={5} />
        </tr>
      )}
    </tbody>
  );
}

function ContributorTable(props: {
  readonly rows: readonly Contributor[];
  readonly payments: PaymentsSummary;
}) {
  const { trans } = useServices();
  const [order, setOrder] = useState<SortOrder>({ key: 'units', isDescending: true });
  const sorted = useMemo(() => sortContributors(props.rows, order), [props.rows, order]);
  const bodyRef = useRef<HTMLTableSectionElement>(null);
  const { first, end } = useRowWindow(bodyRef, sorted.length, ROW_PX);
  const coin = useCoin(props.payments);
  const head = (sortKey: SortKey, label: string) => (
    <ColumnHead
      sortKey={sortKey}
      label={label}
      order={order}
      onSort={(key) => setOrder(nextOrder(order, key))}
    />
  );
  return (
    <div className="rvn-tableFrame">
      <table className="rvn-table rvn-contributors" aria-rowcount={sorted.length + 1}>
        <caption className="rvn-sr">{trans.__('Contributors')}</caption>
        <thead>
          <tr>
            {head('name', trans.__('Worker'))}
            {head('units', trans.__('Units'))}
            {head('rate', trans.__('Samples/s'))}
            {head('latency', trans.__('Latency'))}
            {head('earned', coin.unit === '' ? trans.__('Earned') : coin.unit)}
          </tr>
        </thead>
        <Gap bodyRef={bodyRef} rows={first} />
        <tbody>
          {sorted.slice(first, end).map((row) => (
            <ContributorRow key={row.workerId} row={row} coin={coin} />
          ))}
        </tbody>
        <Gap rows={sorted.length - end} />
      </table>
    </div>
  );
}

export function ContributorsSection(props: {
  readonly rows: readonly Contributor[];
  readonly workerCount: number;
  readonly payments: PaymentsSummary;
}) {
  const { trans } = useServices();
  return (
    <Section title={trans.__('Contributors')} badge={formatCount(props.workerCount)}>
      {props.rows.length === 0 ? (
        <p className="rvn-hint">
          {trans.__(
            'No workers yet. The first tensor that is computed starts workers on this computer; Invite adds other machines.',
          )}
        </p>
      ) : (
        <ContributorTable rows={props.rows} payments={props.payments} />
      )}
    </Section>
  );
}
