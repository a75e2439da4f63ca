/** @file The status bar item: workers and samples per second; a click opens the panel. */
import { ReactWidget } from '@jupyterlab/ui-components';
import { ravenIcon } from '../icons.js';
import type { ClusterModel } from '../model/clusterModel.js';
import { statusText } from '../model/wording.js';
import { CommandIds } from '../tokens.js';
import type { PanelServices } from '../views/context.js';
import { ServicesContext, useServices, useStore, useSubject } from '../views/context.js';

function LiveText(props: { readonly model: ClusterModel }) {
  const { trans } = useServices();
  const { model } = props;
  const { phase, replica } = useStore({ get: model.view, subscribe: model.subscribe });
  if (phase !== 'live' || replica === null) return <>{trans.__('not connected')}</>;
  return <>{statusText(replica.state, trans)}</>;
}

function StatusItem() {
  const { registry, commands, trans } = useServices();
  const subject = useSubject(registry);
  if (subject.kind !== 'cluster') return null;
  return (
    <button
      type="button"
      className="rvn-status"
      title={trans.__('Open the RavenLab panel')}
      onClick={() => void commands.execute(CommandIds.openPanel)}
    >
      <ravenIcon.react tag="span" width="14px" height="14px" aria-hidden="true" />
      <LiveText model={subject.model} />
    </button>
  );
}

export function createStatusWidget(services: PanelServices): ReactWidget {
  return ReactWidget.create(
    <ServicesContext.Provider value={services}>
      <StatusItem />
    </ServicesContext.Provider>,
  );
}
