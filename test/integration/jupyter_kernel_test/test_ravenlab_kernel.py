"""Runs the Jupyter project's own conformance suite against this kernel.

The kernelspec `ravenlab` must be installed where `jupyter kernelspec list` finds it. The pager test is
left out: payloads of that kind are deprecated and this kernel sends none.
"""

import unittest

import jupyter_kernel_test


class RavenLabKernelTests(jupyter_kernel_test.KernelTests):
    kernel_name = "ravenlab"
    language_name = "typescript"
    file_extension = ".ts"

    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('oops')"
    code_generate_error = "throw new RangeError('out of bounds')"
    code_display_data = [
        {"code": "jupyter.html('<b>bold</b>')", "mime": "text/html"},
        {"code": "jupyter.png(new Uint8Array([137, 80, 78, 71]))", "mime": "image/png"},
        {
            "code": "import * as tslab from 'tslab'; tslab.display.markdown('# title')",
            "mime": "text/markdown",
        },
    ]
    code_clear_output = "jupyter.clearOutput({ wait: true })"
    code_inspect_sample = "console.log"

    completion_samples = [
        {"text": "Math.absolut", "matches": []},
        {"text": "Math.sqr", "matches": ["sqrt"]},
        {"text": "console.war", "matches": ["warn"]},
        {"text": "const point = { x: 1, yonder: 2 }; point.yo", "matches": ["yonder"]},
    ]

    complete_code_samples = [
        "1",
        "const x: number = 1;",
        "function f(a: string): string {\n  return a;\n}",
        "await fetch('x')",
        "enum Color { Red }",
    ]
    incomplete_code_samples = [
        "function f() {",
        "console.log(",
        "const x =",
        "if (true) {\n  f();",
        "`template",
        "/* comment",
        "interface A {",
    ]
    invalid_code_samples = ["let let", "1 +* 2", "const x = 1;)"]

    code_execute_result = [
        {"code": "1 + 2 as number", "result": "3"},
        {"code": "[1, 2, 3].map((x) => x ** 2)", "result": "[ 1, 4, 9 ]"},
        {"code": "const greeting: string = 'hi'; greeting", "result": "'hi'"},
        {
            "code": "({ [Symbol.for('Jupyter.display')]: () => ({ 'text/html': '<i>x</i>' }) })",
            "mime": "text/html",
            "result": "<i>x</i>",
        },
        {"code": "await Promise.resolve(7)", "result": "7"},
    ]
    # Payloads of kind `page` are deprecated and this kernel sends none: not a test that is skipped.
    test_pager = None

    code_history_pattern = "1 + ?*"
    supported_history_operations = ("tail", "range", "search")


class RavenLabIopubWelcomeTests(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "ravenlab"
    support_iopub_welcome = True


if __name__ == "__main__":
    unittest.main()
