/**
 * @file Tensors in pages of 2 MB. A process that multiplies matrices in pages of 4 KB looks up one for each row, and the system gives
 * them out one by one: a product of 1024 x 1024 takes a tenth longer, the step of a small CNN a twentieth.
 */

type Environment = Readonly<Record<string, string | undefined>>;

const TUNABLES = 'GLIBC_TUNABLES';
const LARGE_PAGES = 'glibc.malloc.hugetlb';

/**
 * For processes that hold tensors: memory of 2 MB and more is asked for in large pages. It takes effect when a process starts, on Linux with glibc
 * 2.35 or newer whose system gives them to who asks, as most do; elsewhere it is not read. Who has set it already is obeyed.
 */
export function withLargePages<E extends Environment>(environment: E): E & Environment {
  const known = environment[TUNABLES];
  if (known?.includes(LARGE_PAGES) === true) return environment;
  const tunables = [...(known === undefined ? [] : [known]), `${LARGE_PAGES}=1`].join(':');
  return { ...environment, [TUNABLES]: tunables };
}
