"""Runs unittest files of a folder and writes their counts as JSON.

Made for jupyter_kernel_test, which skips what a kernel gives no sample for. A skip would hide a
missing feature, so only the tests named in ALLOWED_SKIPS may skip; any other skip is a failure.
"""

import argparse
import json
import sys
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The pager is a terminal feature of IPython (payload in execute_reply); notebooks never show it.
ALLOWED_SKIPS = {"test_pager"}


class CountingResult(unittest.TextTestResult):
    """Text output for people, and the lists behind the counts."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.passed = 0
        self.started = 0.0

    def startTest(self, test):  # noqa: N802 (unittest's own name)
        self.started = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):  # noqa: N802
        self.passed += 1
        super().addSuccess(test)
        self.stream.writeln(f"    {time.monotonic() - self.started:.2f} s")


def method_name(test):
    return test.id().rsplit(".", 1)[-1]


def main():
    parser = argparse.ArgumentParser(description="Run unittest files and report counts as JSON.")
    parser.add_argument("folder", type=Path, help="folder of test_*.py, relative to the checkout")
    parser.add_argument("--report", type=Path, help="write the counts as JSON to this file")
    options = parser.parse_args()

    folder = ROOT / options.folder
    suite = unittest.TestLoader().discover(str(folder), pattern="test_*.py", top_level_dir=str(folder))
    runner = unittest.TextTestRunner(resultclass=CountingResult, verbosity=2, stream=sys.stdout)
    result = runner.run(suite)

    hidden = [(test, why) for test, why in result.skipped if method_name(test) not in ALLOWED_SKIPS]
    broken = [*result.failures, *result.errors]
    details = [f"{test}\n{trace}" for test, trace in broken]
    details += [f"{test}: skipped ({why}), which hides a missing feature" for test, why in hidden]
    details += [f"{test}: passed, but was expected to fail" for test in result.unexpectedSuccesses]
    if result.testsRun == 0:
        details.append(f"{options.folder} holds no test")
    allowed = [f"{test} ({why})" for test, why in result.skipped if method_name(test) in ALLOWED_SKIPS]
    report = {
        "passed": result.passed,
        "failed": len(details),
        "skipped": allowed,
        "detail": "\n".join(details),
    }
    if options.report is not None:
        options.report.write_text(json.dumps(report))
    sys.exit(1 if details else 0)


if __name__ == "__main__":
    main()
