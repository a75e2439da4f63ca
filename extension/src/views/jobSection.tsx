/** @file The running job: progress, loss, speed, time left, Stop. */
import { stopIcon } from '@jupyterlab/ui-components';
import type { JobSummary } from '@ravenlab/protocol';
import {
  formatCount,
  formatDuration,
  formatLoss,
  formatRate,
  fractionOf,
} from '@ravenlab/protocol';
import { JOB_LABELS, PROMISE_TEXTS, isRunning } from '../model/wording.js';
import { CommandIds } from '../tokens.js';
import { useServices, useStore } from './context.js';
import { LossCurve } from './lossCurve.js';
import { Metric, Pill, Section } from './parts.js';

function StopButton() {
  const { actions, commands, trans } = useServices();
  const isStopping = useStore(actions.isStopping);
  return (
    <button
      type="button"
      className="rvn-button rvn-stop"
      disabled={isStopping}
      title={trans.__('Stop the run; variables and weights stay')}
      onClick={() => void commands.execute(CommandIds.stopRun)}
    >
      <stopIcon.react tag="span" width="14px" height="14px" />
      {isStopping ? trans.__('Stopping…') : trans.__('Stop')}
    </button>
  );
}

function Bar(props: { readonly job: JobSummary; readonly text: string }) {
  const { trans } = useServices();
  const { step, steps, state } = props.job;
  const fraction = fractionOf(step, steps);
  return (
    <div
      className="rvn-bar"
      role="progressbar"
      aria-label={trans.__('Progress of the run')}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(fraction * 100)}
      aria-valuetext={props.text}
      data-state={state}
    >
      <span style={{ width: `${(fraction * 100).toFixed(2)}%` }} />
    </div>
  );
}

function Progress(props: { readonly job: JobSummary }) {
  const { trans } = useServices();
  const { epoch, epochs, step, steps } = props.job;
  const epochText =
    epoch === null
      ? ''
      : epochs === null
        ? trans.__('Epoch %1', epoch + 1)
        : trans.__('Epoch %1 of %2', Math.min(epoch + 1, epochs), epochs);
  const stepText =
    steps === null
      ? trans.__('step %1', formatCount(step))
      : trans.__('step %1 of %2', formatCount(step), formatCount(steps));
  const percent = Math.floor(fractionOf(step, steps) * 100);
  return (
    <div className="rvn-progress">
      <div className="rvn-progressText">
        {epochText === '' ? null : <b data-rvn="epoch">{epochText}</b>}
        <span data-rvn="step">{stepText}</span>
        {steps === null ? null : <span>{`${String(percent)} %`}</span>}
      </div>
      {steps === null ? null : <Bar job={props.job} text={`${epochText} ${stepText}`} />}
    </div>
  );
}

function JobBody(props: { readonly job: JobSummary }) {
  const { trans } = useServices();
  const { job } = props;
  return (
    <>
      <Progress job={job} />
      {job.message === null ? null : (
        <p className="rvn-note" data-tone={JOB_LABELS[job.state].tone}>
          {job.message}
        </p>
      )}
      <div className="rvn-lossHead">
        <span>{trans.__('Loss')}</span>
        <output data-rvn="loss">{formatLoss(job.loss)}</output>
      </div>
      <LossCurve series={job.lossSeries} />
      <p className="rvn-promise" data-rvn="promise">
        {PROMISE_TEXTS[job.promise](trans)}
        {job.bitClass === null ? null : ` · ${job.bitClass}`}
      </p>
      <dl className="rvn-metrics">
        <Metric label={trans.__('Samples/s')} value={formatRate(job.samplesPerSecond)} />
        <Metric
          label={trans.__('Time left')}
          value={formatDuration(isRunning(job) ? job.etaMs : null)}
        />
        <Metric label={trans.__('Samples')} value={formatCount(job.samplesDone)} />
      </dl>
    </>
  );
}

export function JobSection(props: { readonly job: JobSummary | null }) {
  const { trans } = useServices();
  const { job } = props;
  const actions =
    job === null ? null : (
      <>
        <Pill label={JOB_LABELS[job.state]} />
        {isRunning(job) ? <StopButton /> : null}
      </>
    );
  return (
    <Section title={trans.__('Job')} actions={actions}>
      {job === null ? (
        <p className="rvn-hint">
          {trans.__('Nothing trains yet. Progress and the loss curve appear with the first step.')}
        </p>
      ) : (
        <JobBody job={job} />
      )}
    </Section>
  );
}
