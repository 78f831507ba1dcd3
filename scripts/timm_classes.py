"""Names of the classes of ImageNet's larger sets, made of timm's lists: python -m scripts.timm_classes."""

from collections import Counter
from importlib.resources import files

from tests.reference.published import declare_operators
from zoo._registry import packaged

# Our name of a set -> timm's file of its synsets. "22k" is all of the fall of 2011, "21k" Google's selection.
SETS = {
    "imagenet12k": "imagenet12k_synsets.txt",
    "imagenet21k": "imagenet21k_goog_synsets.txt",
    "imagenet21k_miil": "imagenet21k_miil_synsets.txt",
    "imagenet22k": "imagenet22k_synsets.txt",
}
LEMMAS = "imagenet_synset_to_lemma.txt"


def content(name: str) -> str:
    """Returns the content of a set's file in zoo/classes: a line about it, then a name for each class."""
    declare_operators()
    from timm import __version__

    folder = files("timm.data") / "_info"
    lines = (folder / LEMMAS).read_text(encoding="utf-8").splitlines()
    lemmas = {synset: words.split(", ")[0] for synset, _, words in (line.partition("\t") for line in lines)}
    synsets = (folder / SETS[name]).read_text(encoding="utf-8").split()
    counts = Counter(lemmas[synset] for synset in synsets)
    names = (
        lemma if counts[lemma] == 1 else f"{lemma} ({synset})"
        for synset in synsets
        for lemma in [lemmas[synset]]
    )
    about = (
        f"timm {__version__} (Apache-2.0), timm/data/_info/{SETS[name]}: first lemmas of WordNet's synsets"
    )
    return "\n".join([f"# {about}, with the synset where several have one", *names, ""])


def main() -> None:
    """Writes the files."""
    for name in SETS:
        packaged.classes_path(name).write_text(content(name), encoding="utf-8")


if __name__ == "__main__":
    main()
