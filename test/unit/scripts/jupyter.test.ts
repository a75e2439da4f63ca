/** @file The kernelspec of a checkout, from the committed template. */
import { isAbsolute } from 'node:path';
import { fillKernelspec } from '../../../scripts/lib/jupyter.mjs';

describe('filling the kernelspec template', () => {
  const template = {
    argv: ['node', '--flag', '{{KERNEL_MAIN}}', '{connection_file}'],
    display_name: 'TypeScript (RavenLab)',
  };

  it('names the Node that set the checkout up, so a kernel does not depend on PATH', () => {
    expect(fillKernelspec(template).argv[0]).toBe(process.execPath);
  });

  it('makes the program absolute and leaves flags and placeholders alone', () => {
    const [, flag, program, connection] = fillKernelspec(template).argv;
    expect([flag, connection]).toEqual(['--flag', '{connection_file}']);
    expect(isAbsolute(program ?? '')).toBe(true);
    expect(program).toMatch(/kernel[\\/]dist[\\/]main\.js$/);
  });

  it('keeps every other field and does not change the template', () => {
    expect(fillKernelspec(template).display_name).toBe(template.display_name);
    expect(template.argv[0]).toBe('node');
  });
});
