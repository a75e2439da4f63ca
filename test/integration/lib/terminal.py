"""Runs a command in a terminal of its own and types when it is asked: what a person does who has no file with the password.

usage: terminal.py STEPS COMMAND...   where STEPS is JSON: [[text to wait for, text to type], ...]
Prints all that the terminal showed; ends with the command's own exit code, or 124 when a text did not come in time.
"""

import json
import os
import pty
import select
import sys
import time

DEADLINE_S = 30


def main() -> int:
    steps = json.loads(sys.argv[1])
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.argv[2], sys.argv[2:])
    shown = b""
    seen = 0
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if steps:
            at = shown.find(steps[0][0].encode(), seen)
            if at >= 0:
                seen = at + 1
                os.write(terminal, steps.pop(0)[1].encode())
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other side is closed.
            chunk = b""
        if chunk == b"":
            break
        shown += chunk
    else:
        os.kill(pid, 9)
    sys.stdout.buffer.write(shown)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 124


sys.exit(main())
