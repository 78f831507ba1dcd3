"""Models of others, ported, and compared with PyTorch in float64 with random weights at two sizes of inputs.

    python benchmarks/porting.py [torchvision|timm|transformers [NAMES...]] [--train] [--target nnx]

Each model is ported in a process of its own. "difference" is the largest of the outputs, as a part of the
largest number. Without arguments: the first five models of each set. With --train, models run a step of
training, too: "gradients" and "statistics" are the largest differences of these, "itself" is the one of
PyTorch from itself with the batch in reverse; by default for one model of each family of torchvision.
"""

import argparse
import inspect
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import _harness

SETS = ("torchvision", "timm", "transformers")
FEW = 5  # models of a set, if none is chosen
MOST = 1e-12  # difference of what is equal
LIMIT = 900  # seconds for one model
TRANSPOSE = re.compile(r"\.transpose\(|swapaxes\(|moveaxis\(")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=SETS, nargs="?")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--target", choices=("linen", "nnx"), default="linen")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(ported(options.which, options.names[0], options.target, train=options.train)))
        return
    for which in [options.which] if options.which else SETS[:1] if options.train else SETS:
        names = options.names or known(which, train=options.train)[: None if options.which else FEW]
        found = {name: in_a_process(which, name, options.target, train=options.train) for name in names}
        header = (*HEADER, *TRAINED) if options.train else HEADER
        print(_harness.table((which, *header), [*rows(found)]))
        print(totals([*found.values()]), flush=True)
        for name, each in found.items():
            if "reason" in each:
                print(f"{name}: {each['reason']}")
    print(_harness.machine("jax", "flax", "torch", *SETS[:2], "transformers"))


HEADER = ("difference", "lines", "classes", "transposes", "seconds")
TRAINED = ("gradients", "statistics", "itself")


def known(which: str, *, train: bool = False) -> Sequence[str]:
    """The names of a set's models."""
    if which == "transformers":
        from benchmarks import _port_transformers

        return _port_transformers.NAMES
    from benchmarks import _port_vision

    if which == "timm":
        return _port_vision.TIMM
    return _port_vision.FAMILIES if train else _port_vision.torchvision_names()


def in_a_process(which: str, name: str, target: str, *, train: bool = False) -> dict[str, Any]:
    """Returns what `ported` gives, or the reason for which it does not."""
    command = [sys.executable, __file__, which, name, "--one", "--target", target]
    command += ["--train"] * train
    root = str(Path(__file__).parents[1])
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=root)
    except subprocess.TimeoutExpired:
        return {"reason": f"more than {LIMIT} s"}
    lines = (made.stdout if made.returncode == 0 else made.stderr).strip().splitlines()
    if made.returncode or not lines:
        return {"reason": lines[-1] if lines else f"exit {made.returncode}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def ported(which: str, name: str, target: str, *, train: bool = False) -> dict[str, Any]:
    """Ports one model, and measures it."""
    try:
        module, first, second = model_of(which, name)
        return compared(module.eval(), first, second, target, train=train)
    except Exception as error:  # whatever it is that a model fails with
        first_line = str(error).strip().partition("\n")[0]
        return {"reason": f"{type(error).__name__}: {re.sub(r'/.*/site-packages/', '', first_line)}"}


def model_of(which: str, name: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A model, its arguments, and those of other sizes."""
    if which == "transformers":
        from benchmarks import _port_transformers as tiny

        module: Any = tiny.model_of(name)
        runs = [tiny.inputs_for(module, again=again) for again in (False, True)]
    else:
        from benchmarks import _port_vision as vision

        make = vision.timm_model if which == "timm" else vision.torchvision_model
        module, *heights = make(name)
        runs = [[vision.images(height, again=bool(i))] for i, height in enumerate(heights)]
    first, second = (dict(inspect.signature(module.forward).bind(*run).arguments) for run in runs)
    return module, first, second


def compared(
    module: Any, first: Mapping[str, Any], second: Mapping[str, Any], target: str, *, train: bool
) -> dict[str, Any]:
    """Writes the source, and runs it beside the module at both sizes; at the second one in training, too."""
    from converters.porting.dialects import DIALECTS
    from converters.porting.port import write
    from converters.porting.proof import prove, proven_output
    from converters.porting.work import unused

    start = time.perf_counter()
    made = write(module, first, second, dialect=DIALECTS[target])
    seconds = time.perf_counter() - start
    ignore = unused(module, made.scope)
    if train and made.eval_only:
        return {"reason": f"in training, {made.eval_only[0]}"}
    if train:
        proof = prove(module, made, second, ignore)
        numbers = proof.output, proof.gradients, proof.statistics, proof.reordered
        apart = dict(zip(("difference", *TRAINED), numbers, strict=True))
    else:
        runs = [proven_output(module, made, each, ignore) for each in (first, second)]
        apart = {"difference": max(each[-1] for each in runs)}
    return {
        **apart,
        "lines": sum(bool(line.strip()) for line in made.source.splitlines()),
        "classes": made.source.count("\nclass "),
        "transposes": len(TRANSPOSE.findall(made.source)),
        "seconds": seconds,
    }


def rows(found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for name, each in found.items():
        if "reason" not in each:
            counts = (str(each[count]) for count in ("lines", "classes", "transposes"))
            trained = [f"{each[name]:.1e}" for name in TRAINED if name in each]
            yield name, f"{each['difference']:.1e}", *counts, f"{each['seconds']:.1f}", *trained


def totals(found: Sequence[Mapping[str, Any]]) -> str:
    equal = [each for each in found if each.get("difference", 1) <= MOST]
    if not equal:
        return f"0 of {len(found)} equal"
    worst = max(each["difference"] for each in equal)
    return (
        f"{len(equal)} of {len(found)} equal, the largest difference {worst:.1e}; "
        f"without a transpose {sum(not each['transposes'] for each in equal)}; medians: "
        f"{statistics.median(each['lines'] for each in equal):.0f} lines, "
        f"{statistics.median(each['seconds'] for each in equal):.1f} s"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
