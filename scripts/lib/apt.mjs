/** @file System packages that only the distribution can provide: installed when allowed, else named. */
import { mustRun, capture } from './exec.mjs';
import { Failure } from './failure.mjs';

const isRoot = () => process.getuid?.() === 0;

/**
 * Installs Debian packages when we are root and may; otherwise says which are missing.
 * @param {readonly string[]} packages
 * @param {{ mayInstall: boolean, why: string }} options `why` is the sentence a person sees
 */
export async function ensureSystemPackages(packages, { mayInstall, why }) {
  const hasApt = (await capture('apt-get', ['--version'])) !== null;
  if (!hasApt || !mayInstall || !isRoot()) {
    const command = `sudo apt-get install -y ${packages.join(' ')}`;
    throw new Failure(why, {
      todo: hasApt
        ? `run \`${command}\`, then the same command again`
        : `install what your system calls ${packages.join(', ')}, then run the same command again`,
    });
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await mustRun('apt-get', ['update', '-qq'], { log: 'apt-update', env, failure: why });
  await mustRun('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], {
    log: 'apt-install',
    env,
    failure: why,
    todo: `install ${packages.join(' ')} by hand, then run the same command again`,
  });
}
