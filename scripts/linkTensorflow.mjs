/** @file `npm run link:tensorflow [-- --gpu]`: makes the backends tfjs-node or tfjs-node-gpu available. */
import { Failure, runMain } from './lib/failure.mjs';
import { withLock } from './lib/lock.mjs';
import { step } from './lib/progress.mjs';
import { ensureVenv } from './lib/python.mjs';
import { setUpSources } from './lib/setup.mjs';
import { linkTensorflow } from './lib/tensorflow.mjs';

await runMain(async () => {
  const words = process.argv.slice(2);
  const unknown = words.filter((word) => word !== '--gpu');
  if (unknown.length > 0) {
    throw new Failure(`link:tensorflow does not know ${unknown.join(' ')}`, {
      todo: 'npm run link:tensorflow, or npm run link:tensorflow -- --gpu for an NVIDIA card',
    });
  }
  await setUpSources(['typescript']);
  await withLock('setup', async () => {
    await step('JupyterLab in .venv', () => ensureVenv({ mayInstall: true }));
    await linkTensorflow({ isGpu: words.includes('--gpu'), mayInstall: true });
  });
});
