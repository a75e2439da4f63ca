/** @file Plugin: the launcher tile, and the commands that open the quickstart or a fresh notebook on our kernel. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { PANEL_KERNEL } from '@ravenlab/protocol';
import { logoIcon } from '../icons.js';
import { CommandIds, TRANSLATION_DOMAIN } from '../tokens.js';

/** Where `npm start` and the example repository keep it, relative to the server's root. */
const QUICKSTART_PATHS = ['notebooks/01-quickstart.ipynb', '01-quickstart.ipynb'];

async function findQuickstart(app: JupyterFrontEnd): Promise<string | null> {
  for (const path of QUICKSTART_PATHS) {
    try {
      await app.serviceManager.contents.get(path, { content: false });
      return path;
    } catch {
      // Not there: try the next place.
    }
  }
  return null;
}

export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: '@ravenlab/extension:launcher',
  description: 'Opens the RavenLab quickstart from the launcher and the palette.',
  autoStart: true,
  optional: [ILauncher, ICommandPalette, ITranslator],
  activate: (
    app,
    launcher: ILauncher | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null,
  ) => {
    const trans = (translator ?? nullTranslator).load(TRANSLATION_DOMAIN);
    const { commands } = app;
    commands.addCommand(CommandIds.newNotebook, {
      label: trans.__('New RavenLab Notebook'),
      icon: logoIcon,
      describedBy: { args: { type: 'object', properties: { cwd: { type: 'string' } } } },
      execute: (args) =>
        commands.execute('notebook:create-new', {
          kernelName: PANEL_KERNEL,
          ...(typeof args['cwd'] === 'string' && { cwd: args['cwd'] }),
        }),
    });
    commands.addCommand(CommandIds.quickstart, {
      label: (args) =>
        args['isLauncher'] === true ? trans.__('Quickstart') : trans.__('Open the Quickstart'),
      caption: trans.__('Train a small network on workers of your own'),
      icon: logoIcon,
      describedBy: {
        args: {
          type: 'object',
          properties: { cwd: { type: 'string' }, isLauncher: { type: 'boolean' } },
        },
      },
      execute: async (args): Promise<unknown> => {
        const path = await findQuickstart(app);
        const opened: unknown =
          path === null
            ? await commands.execute(CommandIds.newNotebook, { cwd: args['cwd'] ?? '' })
            : await commands.execute('docmanager:open', { path });
        return opened;
      },
    });
    launcher?.add({
      command: CommandIds.quickstart,
      category: 'RavenLab',
      // Before all kernels: a newcomer finds it without scrolling.
      categoryRank: -1,
      rank: 0,
      args: { isLauncher: true },
    });
    for (const command of [CommandIds.quickstart, CommandIds.newNotebook]) {
      palette?.addItem({ command, category: 'RavenLab' });
    }
  },
};
