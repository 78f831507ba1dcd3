"""Examples of the documents run: their Python, and the `$ zoo` lines of their consoles.

A block that follows the comment NETWORK is the only kind that is not run. Where a console block shows output,
its command must print exactly that to a terminal.
"""

import os
import pty
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import zoo

pytestmark = pytest.mark.costly

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "docs").glob("*.md"))
MAP = ROOT / "docs" / "architecture.md"  # tests/test_architecture.py reads it
DOCUMENTS = [ROOT / "README.md", *(guide for guide in GUIDES if guide != MAP)]
OWN_PROCESS = {"README.md", "ensembles.md", "scale.md"}  # as users run it, and two that ask JAX for devices
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
def test_its_python_runs_from_top_to_bottom(document, tmp_path, monkeypatch):
    script = [""] * len(document.read_text().splitlines())
    for block in blocks(document):
        if block.language == "python" and not block.network:
            # At its own lines, so that a traceback shows the document's line numbers.
            lines = block.text.splitlines()
            script[block.line : block.line + len(lines)] = lines
    (tmp_path / document.name).write_text("\n".join(script))
    if document.name in OWN_PROCESS:
        run_in_terminal(["-W", "error", document.name], tmp_path)
    else:  # a process for each would import everything again
        monkeypatch.chdir(tmp_path)
        runpy.run_path(document.name, run_name="__main__")


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_its_commands_print_what_it_shows(block, tmp_path):
    for command, shown in commands(block):
        printed = run_in_terminal(["-m", *shlex.split(command)], tmp_path)
        assert shown in ("", printed), command


def test_every_block_is_run_or_needs_the_network():
    assert {block.language for block in BLOCKS if not block.network} == {"python", "console"}
    for block in CONSOLES:
        assert all(command.startswith("zoo ") for command, _ in commands(block)), block


def test_the_table_of_models_says_what_the_manifest_says():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    every = [zoo.info(name) for name in zoo.list_models(pretrained=True)]
    entries = [entry for entry in every if str(entry.weights).startswith("bundled")]
    assert [row for row in rows if not row.startswith("| `make")] == [
        f"| `{entry.name}` | {entry.family} | {entry.num_params:,} | "
        f"{', '.join(f'{name} {value:g}' for name, value in entry.metrics.items())} |"
        for entry in entries
    ]


def commands(block: Block) -> list[tuple[str, str]]:
    """Each `$` line of a console block with what it prints there."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0], f"{block} starts with what no command printed"
    return [
        (command, printed.strip("\n")) for command, _, printed in (part.partition("\n") for part in parts[1:])
    ]


def run_in_terminal(arguments: list[str], directory: Path) -> str:
    """Returns what `python ARGUMENTS` prints to a terminal without colours; no spaces end its lines."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "TERM": "dumb"}
    terminal, output = pty.openpty()
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=directory, env=environment, stdout=output, stderr=output) as process:
        os.close(output)
        printed = b"".join(iter(lambda: read(terminal), b"")).decode()
    os.close(terminal)
    assert not process.returncode, f"{shlex.join(command)}\n{printed}"
    return "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")


def read(terminal: int) -> bytes:
    """Reads the next text; nothing once the other side is closed, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
