"""What the documents show runs: their Python, and the `$ zoo` lines of their consoles.

A block that follows the comment NETWORK is the only kind that is not run. Where a console block shows output,
its command must print exactly that to a terminal.
"""

import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NETWORK = "<!-- needs the network -->"
BLOCK = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the document's line that its text starts at, from 0."""

    document: Path
    line: int
    language: str
    text: str
    network: bool

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line + 1}"


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    return [
        Block(
            document, text[: match.start("text")].count("\n"), match["language"], match["text"],
            match["before"] == NETWORK,
        )
        for match in BLOCK.finditer(text)
    ]  # fmt: skip


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
CONSOLES = [block for block in BLOCKS if block.language == "console" and not block.network]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_its_python_runs_from_top_to_bottom(document, tmp_path):
    script = [""] * len(document.read_text().splitlines())
    for block in blocks(document):
        if block.language == "python" and not block.network:
            # At its own lines, so that a traceback shows the document's line numbers.
            lines = block.text.splitlines()
            script[block.line : block.line + len(lines)] = lines
    (tmp_path / document.name).write_text("\n".join(script))
    run_in_terminal(["-W", "error", document.name], tmp_path)


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_its_commands_print_what_it_shows(block, tmp_path):
    for command, shown in commands(block):
        printed = run_in_terminal(["-m", *shlex.split(command)], tmp_path)
        assert not shown or printed == shown, command


def test_every_block_is_run_or_needs_the_network():
    assert {block.language for block in BLOCKS if not block.network} == {"python", "console"}
    for block in CONSOLES:
        assert all(command.startswith("zoo ") for command, _ in commands(block)), block


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """Each `$` line of a console block with the lines that it prints there."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0], f"{block} starts with what no command printed"
    return [(lines[0], [line.rstrip() for line in lines[1:]]) for lines in map(str.splitlines, parts[1:])]


def run_in_terminal(arguments: list[str], directory: Path) -> list[str]:
    """The lines that `python ARGUMENTS` prints to a terminal of 110 columns without colours."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "110", "TERM": "dumb"}
    terminal, output = pty.openpty()
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=directory, env=environment, stdout=output, stderr=output) as process:
        os.close(output)
        printed = b"".join(iter(lambda: read(terminal), b"")).decode()
    os.close(terminal)
    assert not process.returncode, f"{shlex.join(command)}\n{printed}"
    return [line.rstrip() for line in printed.splitlines()]


def read(terminal: int) -> bytes:
    """What is there next; nothing once the other side is closed, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
