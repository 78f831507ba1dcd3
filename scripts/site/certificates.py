"""Writes docs/site/certificates.json of what the tests of equivalence printed.

pytest tests/test_equivalence.py -k outputs_and_gradients --junitxml=FILE -o junit_logging=system-out
python -m scripts.site.certificates FILE
"""

import datetime
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from scripts.site.architectures import CERTIFICATES
from tests.cases import CASES

TEST = re.compile(r"test_outputs_and_gradients_match_pytorch\[(?:(eval|train)-(.+)|(.+)-(eval|train))\]")
FORWARD = re.compile(r"^outputs differ by (\S+),", re.MULTILINE)
GRADIENTS = re.compile(r"gradients differ by (\S+) of the largest")


def read(report: str) -> dict[str, dict[str, dict[str, float]]]:
    """Returns family -> case -> the largest differences, for each case; in train mode where that was run."""
    found: dict[str, dict[str, float]] = {}
    for test in ElementTree.fromstring(report).iter("testcase"):
        match = TEST.fullmatch(test.get("name", ""))
        printed = test.findtext("system-out", "")
        if not match or test.find("failure") is not None or test.find("error") is not None:
            continue
        mode, case = match[1] or match[4], match[2] or match[3]
        figures = found.setdefault(case, {})
        figures[mode] = max(map(float, FORWARD.findall(printed)))
        gradients = [float(each) for each in GRADIENTS.findall(printed)]
        figures["gradients"] = max([figures.get("gradients", 0.0), *gradients])
    families: dict[str, dict[str, dict[str, float]]] = {}
    for name, case in CASES.items():
        if "eval" in found.get(name, ()):
            families.setdefault(case.family, {})[name] = found[name]
    return families


if __name__ == "__main__":
    record = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("jax", "flax", "torch", "numpy")},
        "families": read(Path(sys.argv[1]).read_text(encoding="utf-8")),
    }
    CERTIFICATES.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
