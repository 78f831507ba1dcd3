"""Refusals: the ends of a verb without a traceback, and their words."""

import errno
import os
import sys
from contextlib import suppress

import pytest

import zoo
from converters import CheckpointError
from converters.io import atomic_write
from zoo.cli.app import app
from zoo.cli.modules import make
from zoo.cli.refusals import refusal

FULL = "No space left on device"


def system_error(number, *path):
    return OSError(number, os.strerror(number), *path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (zoo.ZooError("no such thing."), "no such thing."),
        (system_error(errno.ENOSPC, "out/a.npy"), f"'out/a.npy': {FULL}"),
        (system_error(errno.EROFS, "out/.0123456789abcdef.tmp"), "'out': Read-only file system"),
        (system_error(errno.EROFS, ".0123456789abcdef.tmp"), "'.': Read-only file system"),
        (
            UnicodeDecodeError("utf-8", b"ab\xff", 2, 3, "x"),
            "the input is not UTF-8: it has the byte 0xff at 2.",
        ),
        (UnicodeEncodeError("ascii", "aé", 1, 2, "x"), r"ascii has no '\xe9'; with PYTHONIOENCODING=utf-8"),
    ],
    ids=str,
)
def test_a_refusal_is_a_sentence(error, said):
    with pytest.raises(type(error)) as caught:
        raise error
    assert refusal(caught.value).startswith(said)


def test_a_device_without_memory_is_said_before_the_module_that_asked_for_it(tmp_path, monkeypatch):
    (tmp_path / "greedy.py").write_text(
        "import jax.numpy as jnp\n\n\ndef make():\n    return jnp.zeros((200_000, 10_000_000))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(zoo.ZooError) as caught:
        make("greedy:make")
    said = refusal(caught.value.__cause__)
    assert said.startswith("the memory of the device is not enough")
    assert said.endswith("greedy.py, line 5: return jnp.zeros((200_000, 10_000_000))")


def test_a_flaw_of_the_zoo_keeps_its_traceback():
    assert refusal(KeyError("x")) is None


@pytest.mark.parametrize(
    "arguments", [["list"], ["info", "cnn_mnist", "--json"], ["-h"], ["--version"]], ids=str
)
def test_a_full_disk_behind_standard_output_is_said(arguments, monkeypatch, capsys):
    with suppress(OSError), open("/dev/full", "w") as full:  # where it is closed, it is full again
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as caught:
            app(arguments, prog_name="zoo")
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"zoo: standard output cannot be written: {FULL}\n"


def test_a_read_only_file_system_is_said_with_the_name_of_the_file(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise system_error(errno.EROFS, str(arguments[0]))

    monkeypatch.setattr("builtins.open", refused)
    monkeypatch.setattr("os.unlink", refused)  # where nothing is, too
    with (
        pytest.raises(CheckpointError, match=r"a\.npy': Read-only file system$"),
        atomic_write(tmp_path / "a.npy"),
    ):
        pass
    monkeypatch.setattr("pathlib.Path.mkdir", refused)
    with pytest.raises(zoo.WeightsError, match=r"m' cannot be saved: Read-only file system$"):
        zoo.save(zoo.load("mlp_mnist", pretrained=True), tmp_path / "m")
