"""Executes notebooks headless through nbclient and checks what they promise.

A cell may carry expectations in its metadata, invisible to the reader:

    "ravenlab": {"expect": [{"match": "accuracy: ([0-9.]+) %", "atLeast": 97.5}]}

`match` is a regular expression that the cell's text output must contain (the last match counts);
`atLeast` and `atMost` bound the number in its first group. A notebook passes when every cell ran
and every expectation held. It counts as one result, and so does each expectation.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[2]
KERNEL = "ravenlab"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
DETAIL_LINES = 40


@dataclass
class Result:
    """What one notebook did; `problems` is empty when it is all right."""

    name: str
    seconds: float = 0.0
    cells: int = 0
    passed: int = 0
    problems: list[str] = field(default_factory=list)


def plain(text):
    """Text as a person reads it: no colours, and a carriage return starts the line again."""
    lines = ANSI.sub("", text).split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)


def joined(value):
    """nbformat allows a string or a list of lines."""
    return value if isinstance(value, str) else "".join(value)


def text_of(cell):
    """All text a cell printed or showed, in order."""
    parts = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            parts.append(joined(output["text"]))
        elif output["output_type"] in ("execute_result", "display_data"):
            for mime, data in output["data"].items():
                if mime.startswith("text/"):
                    parts.append(joined(data))
        elif output["output_type"] == "error":
            parts.append("\n".join(output["traceback"]))
    return plain("\n".join(parts))


def complaints_of(cell):
    """What the cell wrote to stderr: type errors, warnings of the engine."""
    streams = [each for each in cell.get("outputs", []) if each["output_type"] == "stream"]
    return plain("".join(joined(each["text"]) for each in streams if each["name"] == "stderr"))


def check(expectation, text):
    """The reason an expectation does not hold, or None."""
    pattern = expectation["match"]
    matches = list(re.finditer(pattern, text))
    if not matches:
        return f"expected output to match /{pattern}/; it was:\n{tail(text)}"
    bounds = {key: expectation[key] for key in ("atLeast", "atMost") if key in expectation}
    if not bounds:
        return None
    found = matches[-1].group(1)
    try:
        value = float(found.replace(",", ""))
    except ValueError:
        return f"expected a number for /{pattern}/, found {found!r}"
    if "atLeast" in bounds and not value >= bounds["atLeast"]:
        return f"expected /{pattern}/ to be at least {bounds['atLeast']}, found {value}"
    if "atMost" in bounds and not value <= bounds["atMost"]:
        return f"expected /{pattern}/ to be at most {bounds['atMost']}, found {value}"
    return None


def tail(text):
    return "\n".join(text.rstrip().split("\n")[-DETAIL_LINES:])


def execute(notebook, folder, timeout_s):
    """Runs every cell; the reason it could not, or None."""
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        startup_timeout=60,
        kernel_name=KERNEL,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return tail(plain(str(error)))
    except CellTimeoutError as error:
        return f"a cell ran longer than {timeout_s} s: {tail(plain(str(error)))}"
    except DeadKernelError as error:
        return f"the kernel died: {error}"
    except RuntimeError as error:
        return f"the kernel did not start: {error}"
    return None


def run(path, timeout_s, update):
    """Executes one notebook file."""
    result = Result(path.name)
    start = time.monotonic()
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, nbformat.ValidationError) as error:
        result.problems.append(f"not a valid notebook: {error}")
        return result
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != KERNEL:
        result.problems.append(f"its kernel is {kernel!r}, expected {KERNEL!r}")
        return result
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    result.cells = len(code_cells)
    problem = execute(notebook, path.parent, timeout_s)
    result.seconds = time.monotonic() - start
    if problem is not None:
        result.problems.append(problem)
    else:
        result.passed += 1
    for cell in code_cells:
        complaint = complaints_of(cell)
        if complaint:
            result.problems.append(f"expected nothing on stderr; it was:\n{tail(complaint)}")
        for expectation in cell.metadata.get("ravenlab", {}).get("expect", []):
            reason = check(expectation, text_of(cell))
            if reason is None:
                result.passed += 1
            else:
                result.problems.append(reason)
    if update and not result.problems:
        nbformat.write(notebook, path)
    return result


def find(target, names):
    """Notebook files of a folder, or the named ones (with or without the ending)."""
    files = sorted(target.glob("*.ipynb"))
    if not names:
        return files
    wanted = {name.removesuffix(".ipynb") for name in names}
    unknown = wanted - {path.stem for path in files}
    if unknown:
        known = ", ".join(path.stem for path in files) or "(none)"
        sys.exit(f"no notebook is called {', '.join(sorted(unknown))}; {target} has: {known}")
    return [path for path in files if path.stem in wanted]


def main():
    parser = argparse.ArgumentParser(description="Execute notebooks headless and check their promises.")
    parser.add_argument("folder", type=Path, help="folder of notebooks, relative to the checkout")
    parser.add_argument("names", nargs="*", help="only these notebooks")
    parser.add_argument("--report", type=Path, help="write the counts as JSON to this file")
    parser.add_argument("--update", action="store_true", help="write outputs back into the notebooks")
    parser.add_argument("--cell-timeout-s", type=int, default=600)
    options = parser.parse_args()

    results = []
    for path in find(ROOT / options.folder, options.names):
        result = run(path, options.cell_timeout_s, options.update)
        results.append(result)
        mark = "✗" if result.problems else "✓"
        counts = f"{result.cells} cells, {result.passed} passed, {len(result.problems)} failed"
        print(f"{mark} {result.name}  {result.seconds:.1f} s  {counts}", flush=True)
        for problem in result.problems:
            print("    " + problem.replace("\n", "\n    "), flush=True)

    passed = sum(result.passed for result in results)
    failed = sum(len(result.problems) for result in results)
    detail = "\n".join(f"{result.name}: {text}" for result in results for text in result.problems)
    if not results:
        failed, detail = 1, f"{options.folder} holds no notebook"
        print(detail)
    if options.report is not None:
        note = ", ".join(f"{result.name} {result.seconds:.0f} s" for result in results)
        report = {"passed": passed, "failed": failed, "skipped": [], "detail": detail, "note": note}
        options.report.write_text(json.dumps(report))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
