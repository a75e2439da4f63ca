/** @file Entry of the JupyterLab extension: its plugins, nothing else. */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { clustersPlugin } from './plugins/clusters.js';
import { launcherPlugin } from './plugins/launcher.js';
import { panelPlugin } from './plugins/panel.js';
import type { IClusterRegistry } from './tokens.js';

const plugins: (JupyterFrontEndPlugin<IClusterRegistry> | JupyterFrontEndPlugin<void>)[] = [
  clustersPlugin,
  panelPlugin,
  launcherPlugin,
];

export default plugins;
