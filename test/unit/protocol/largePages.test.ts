/** @file What processes that hold tensors are told of their memory; not what the system makes of it. */
import { withLargePages } from '@ravenlab/protocol';

test.each([
  [undefined, 'glibc.malloc.hugetlb=1'],
  ['glibc.malloc.arena_max=2', 'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1'],
  ['glibc.malloc.hugetlb=0', 'glibc.malloc.hugetlb=0'],
])('tunables %p become %p', (known, expected) => {
  const environment = { HOME: 'here', GLIBC_TUNABLES: known };
  expect(withLargePages(environment)).toEqual({ HOME: 'here', GLIBC_TUNABLES: expected });
});
