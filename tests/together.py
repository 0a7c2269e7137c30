"""Processes that do the same at the same time."""

import os
import subprocess
import sys
from collections.abc import Sequence


def started_together(script: str, *arguments: Sequence[str]) -> list[subprocess.Popen[str]]:
    """A process for each of `arguments`; all have loaded what they need, then all begin."""
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *words],
            env={**os.environ, **credentials},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in arguments
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def ended(processes: Sequence[subprocess.Popen[str]]) -> None:
    said = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
