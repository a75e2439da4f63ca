/** @file Difference of two panel states and its application; pure, no sequence numbers, no validation of hostile input. RFC 2 §4. */
import { PANEL_LIMITS as LIMITS } from '../limits.js';
import type { Fields, Reader } from '../read.js';
import { count, fieldNames, id, list, objectOf, partial, record, reject } from '../read.js';
import type { Payee, PaymentsSummary } from './payments.js';
import { PAYEE_FIELDS, PAYMENTS_FIELDS } from './payments.js';
import type {
  Alert,
  ClusterSummary,
  Contributor,
  JobSummary,
  LossPoint,
  LossSeries,
  PanelState,
} from './state.js';
import { CLUSTER_FIELDS, CONTRIBUTOR_FIELDS, JOB_FIELDS, alerts, lossPoints } from './state.js';

/** Rows changed (only the changed fields, a new row whole) and rows gone. */
export interface RowsPatch<T> {
  readonly set?: readonly (Partial<T> & { readonly workerId: string })[];
  readonly remove?: readonly string[];
}

/** Keep the first `keep` points, then append. */
export interface LossPatch {
  readonly stride: number;
  readonly lastCount: number;
  readonly keep: number;
  readonly append: readonly LossPoint[];
}

type JobScalars = Omit<JobSummary, 'lossSeries'>;
type PaymentScalars = Omit<PaymentsSummary, 'payees'>;

export type JobPatch =
  | { readonly whole: JobSummary | null }
  | { readonly change: Partial<JobScalars>; readonly loss?: LossPatch };

export interface PanelPatch {
  readonly cluster?: Partial<ClusterSummary>;
  readonly contributors?: RowsPatch<Contributor>;
  readonly job?: JobPatch;
  readonly payments?: {
    readonly change: Partial<PaymentScalars>;
    readonly payees?: RowsPatch<Payee>;
  };
  readonly alerts?: readonly Alert[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const { lossSeries: _lossSeries, ...JOB_SCALARS } = JOB_FIELDS;
const { payees: _payees, ...PAYMENT_SCALARS } = PAYMENTS_FIELDS;

function isEmpty(value: object): boolean {
  return Object.keys(value).length === 0;
}

/** Of JSON values as readers make them; depth and size are bounded by those. */
function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const left = Object.entries(a);
  if (left.length !== Object.keys(b).length) return false;
  return left.every(([key, value]) => isSame(value, (b as Record<string, unknown>)[key]));
}

function diffFields<T>(fields: Fields<T>, before: T, after: T): Partial<T> {
  const changed: Partial<T> = {};
  for (const name of fieldNames(fields)) {
    if (!isSame(before[name], after[name])) changed[name] = after[name];
  }
  return changed;
}

interface Row {
  readonly workerId: string;
}

function diffRows<T extends Row>(
  fields: Fields<T>,
  before: readonly T[],
  after: readonly T[],
): RowsPatch<T> | undefined {
  if (before === after) return undefined;
  const old = new Map(before.map((row) => [row.workerId, row]));
  const set: (Partial<T> & Row)[] = [];
  for (const row of after) {
    const previous = old.get(row.workerId);
    old.delete(row.workerId);
    const changed = previous === undefined ? row : diffFields(fields, previous, row);
    if (!isEmpty(changed)) set.push({ ...changed, workerId: row.workerId });
  }
  const remove = [...old.keys()];
  if (set.length === 0 && remove.length === 0) return undefined;
  return { ...(set.length > 0 && { set }), ...(remove.length > 0 && { remove }) };
}

function samePoint(a: LossPoint | undefined, b: LossPoint | undefined): boolean {
  return a !== undefined && a[0] === b?.[0] && a[1] === b[1];
}

function diffLoss(before: LossSeries, after: LossSeries): LossPatch | undefined {
  if (before === after) return undefined;
  let keep = 0;
  while (samePoint(before.points[keep], after.points[keep])) keep++;
  const { stride, lastCount } = after;
  const isSame =
    keep === before.points.length &&
    keep === after.points.length &&
    stride === before.stride &&
    lastCount === before.lastCount;
  return isSame ? undefined : { stride, lastCount, keep, append: after.points.slice(keep) };
}

function diffJob(before: JobSummary | null, after: JobSummary | null): JobPatch | undefined {
  if (before === after) return undefined;
  if (after === null || before?.runId !== after.runId) return { whole: after };
  const change = diffFields<JobScalars>(JOB_SCALARS, before, after);
  const loss = diffLoss(before.lossSeries, after.lossSeries);
  if (isEmpty(change) && loss === undefined) return undefined;
  return { change, ...(loss !== undefined && { loss }) };
}

function diffPayments(before: PaymentsSummary, after: PaymentsSummary): PanelPatch['payments'] {
  const change = diffFields<PaymentScalars>(PAYMENT_SCALARS, before, after);
  const payees = diffRows(PAYEE_FIELDS, before.payees, after.payees);
  if (isEmpty(change) && payees === undefined) return undefined;
  return { change, ...(payees !== undefined && { payees }) };
}

function sameAlerts(before: readonly Alert[], after: readonly Alert[]): boolean {
  if (before === after) return true;
  if (before.length !== after.length) return false;
  return before.every((alert, index) => alert.alertId === after[index]?.alertId);
}

/** What turns `before` into `after`; undefined when nothing the panel shows has changed. */
export function diffPanelState(before: PanelState, after: PanelState): PanelPatch | undefined {
  const patch: Mutable<PanelPatch> = {};
  const cluster = diffFields(CLUSTER_FIELDS, before.cluster, after.cluster);
  if (!isEmpty(cluster)) patch.cluster = cluster;
  const contributors = diffRows(CONTRIBUTOR_FIELDS, before.contributors, after.contributors);
  if (contributors !== undefined) patch.contributors = contributors;
  const job = diffJob(before.job, after.job);
  if (job !== undefined) patch.job = job;
  const payments = diffPayments(before.payments, after.payments);
  if (payments !== undefined) patch.payments = payments;
  if (!sameAlerts(before.alerts, after.alerts)) patch.alerts = after.alerts;
  return isEmpty(patch) ? undefined : patch;
}

function patchRows<T extends Row>(
  fields: Fields<T>,
  rows: readonly T[],
  patch: RowsPatch<T> | undefined,
): readonly T[] | undefined {
  if (patch === undefined) return rows;
  const byId = new Map(rows.map((row) => [row.workerId, row]));
  for (const workerId of patch.remove ?? []) byId.delete(workerId);
  for (const change of patch.set ?? []) {
    const merged: Partial<T> = { ...byId.get(change.workerId), ...change };
    if (fieldNames(fields).some((name) => merged[name] === undefined)) return undefined;
    byId.set(change.workerId, merged as T);
  }
  return [...byId.values()];
}

function patchLoss(series: LossSeries, patch: LossPatch | undefined): LossSeries | undefined {
  if (patch === undefined) return series;
  if (patch.keep > series.points.length) return undefined;
  if (patch.keep + patch.append.length > LIMITS.lossPoints) return undefined;
  const points = [...series.points.slice(0, patch.keep), ...patch.append];
  return { stride: patch.stride, lastCount: patch.lastCount, points };
}

function patchJob(
  job: JobSummary | null,
  patch: JobPatch | undefined,
): JobSummary | null | undefined {
  if (patch === undefined) return job;
  if ('whole' in patch) return patch.whole;
  if (job === null) return undefined;
  const lossSeries = patchLoss(job.lossSeries, patch.loss);
  return lossSeries === undefined ? undefined : { ...job, ...patch.change, lossSeries };
}

/** The patched state; undefined when the patch does not fit `state`, so a snapshot is needed. */
export function applyPanelPatch(state: PanelState, patch: PanelPatch): PanelState | undefined {
  const contributors = patchRows(CONTRIBUTOR_FIELDS, state.contributors, patch.contributors);
  const payees = patchRows(PAYEE_FIELDS, state.payments.payees, patch.payments?.payees);
  const job = patchJob(state.job, patch.job);
  if (contributors === undefined || payees === undefined || job === undefined) return undefined;
  if (contributors.length > LIMITS.contributors || payees.length > LIMITS.payees) return undefined;
  return {
    cluster: { ...state.cluster, ...patch.cluster },
    contributors,
    job,
    payments: { ...state.payments, ...patch.payments?.change, payees },
    alerts: patch.alerts ?? state.alerts,
  };
}

function rowsPatch<T extends Row>(fields: Fields<T>, maxRows: number): Reader<RowsPatch<T>> {
  const change = partial(fields);
  const workerId = id(LIMITS.idChars);
  const row: Reader<Partial<T> & Row> = (value, path) => ({
    ...change(value, path),
    workerId: workerId(objectOf(value, path)['workerId'], `${path}.workerId`),
  });
  // Removals may name every old row and additions every new one.
  return partial<RowsPatch<T>>({
    set: list(row, maxRows),
    remove: list(workerId, maxRows),
  });
}

const lossPatch: Reader<LossPatch> = record<LossPatch>({
  stride: count(),
  lastCount: count(),
  keep: count(LIMITS.lossPoints),
  append: lossPoints,
});

const jobChange = partial<JobScalars>(JOB_SCALARS);

const jobPatch: Reader<JobPatch> = (value, path) => {
  const source = objectOf(value, path);
  if (Object.hasOwn(source, 'whole')) {
    const whole = source['whole'];
    return { whole: whole === null ? null : record(JOB_FIELDS)(whole, `${path}.whole`) };
  }
  if (!Object.hasOwn(source, 'change')) return reject(path, 'whole or change', value);
  const change = jobChange(source['change'], `${path}.change`);
  if (!Object.hasOwn(source, 'loss')) return { change };
  return { change, loss: lossPatch(source['loss'], `${path}.loss`) };
};

const paymentChange = partial<PaymentScalars>(PAYMENT_SCALARS);
const payeesPatch = rowsPatch(PAYEE_FIELDS, LIMITS.payees);

const paymentsPatch: Reader<NonNullable<PanelPatch['payments']>> = (value, path) => {
  const source = objectOf(value, path);
  const change = paymentChange(source['change'], `${path}.change`);
  if (!Object.hasOwn(source, 'payees')) return { change };
  return { change, payees: payeesPatch(source['payees'], `${path}.payees`) };
};

export const readPanelPatch: Reader<PanelPatch> = partial<PanelPatch>({
  cluster: partial(CLUSTER_FIELDS),
  contributors: rowsPatch(CONTRIBUTOR_FIELDS, LIMITS.contributors),
  job: jobPatch,
  payments: paymentsPatch,
  alerts,
});
