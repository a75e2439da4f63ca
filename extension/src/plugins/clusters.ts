/** @file Plugin: the registry of clusters, fed by notebooks and consoles. */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { ClusterRegistry } from '../jupyter/clusterRegistry.js';
import { IClusterRegistry, TRANSLATION_DOMAIN } from '../tokens.js';

export const clustersPlugin: JupyterFrontEndPlugin<IClusterRegistry> = {
  id: '@ravenlab/extension:clusters',
  description: 'Follows the RavenLab kernel of the notebook or console in use.',
  autoStart: true,
  provides: IClusterRegistry,
  optional: [INotebookTracker, IConsoleTracker, ITranslator],
  activate: (
    _app,
    notebooks: INotebookTracker | null,
    consoles: IConsoleTracker | null,
    translator: ITranslator | null,
  ) => {
    const registry = new ClusterRegistry((translator ?? nullTranslator).load(TRANSLATION_DOMAIN));
    if (notebooks !== null) registry.follow(notebooks);
    if (consoles !== null) registry.follow(consoles);
    return registry;
  },
};
