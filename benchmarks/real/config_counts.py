"""Real config.json files of the Hub's layout: how many of each model_type the zoo builds, and why not all.

    python -m benchmarks.real.config_counts DIRECTORY [DIRECTORY ...]

Nothing but the module is built, so that files of any size count. A file is one as for
`benchmarks.real.configs`. A line for each refusal has the attributes that the zoo lacks.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import zoo
from zoo._loading import transformers_config


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directories", nargs="+", type=Path)
    found, built, reasons = Counter[str](), Counter[str](), defaultdict[str, list[str]](list)
    for path in sorted(path for each in parser.parse_args().directories for path in each.glob("*.json")):
        record = json.loads(path.read_text())
        config, source = record.get("config", record), record.get("source", path.name)
        kind = str(config.get("model_type"))
        found[kind] += 1
        try:
            transformers_config.entry(source, json.dumps(config).encode(), lambda name: None)
            built[kind] += 1
        except zoo.ZooError as error:
            reasons[kind].append(" ".join(str(error).replace(repr(source), "").split()) + f" ({source})")
    print("| model_type | files | built |\n| --- | ---: | ---: |")
    for kind, count in found.most_common():
        print(f"| {kind} | {count} | {built[kind]} |")
    print(f"| all | {found.total()} | {built.total()} |")
    for kind in sorted(reasons):
        for reason in reasons[kind]:
            print(f"{kind}: {reason[:400]}")


if __name__ == "__main__":
    main()
