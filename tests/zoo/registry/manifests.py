"""Manifests of one model: right ones, and one for each fault."""

SHA = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4
FILE = f"file: a.safetensors, sha256: {SHA}, size: 9"
HUB = f"file: a.safetensors, repo: owner/name, revision: {COMMIT}, sha256: {SHA}"
URL = "url: https://example.org/net-01234567.pth"

HEAD = """models:
  net:
    family: cnn
    config: {channels: [1, 2]}
    inputs: [{name: images, shape: [1, 28, 28, 1], dtype: float32}]
    num_params: 7
    license: MIT
    source: here
"""
MORE = "    {}\n".format


def weights(fields):
    return HEAD + MORE(f"weights: {{{fields}}}")


TAGS = f"""    default: old
    tags:
      old: {{weights: {{{FILE}}}, metrics: {{accuracy: 1}}}}
      new: {{weights: {{{FILE}}}, source: there}}
"""

FINE = {
    "untrained": HEAD,
    "bundled": weights(FILE),
    "on the Hub": weights(HUB),
    "on the Hub, in a folder": weights(HUB.replace("a.safetensors", "onnx/a.safetensors")),
    "on the Hub, unattested": weights(HUB.replace(SHA, "unattested")),
    "on the Hub, no commit attested": weights(HUB.replace(SHA, "unattested").replace(COMMIT, "unattested")),
    "at an address, prefix only": weights(f"{URL}, sha256: '01234567'"),
    "at an address, whole hash": weights(f"{URL.replace('-01234567', '')}, sha256: {SHA}"),
    "explicit document start": "---\n" + HEAD,
    "YAML 1.1's words are text": HEAD.replace("MIT", "no"),
    "photos": HEAD + MORE("preprocess: {resize: 4, crop: 3, interpolation: bicubic, std: [1, 2, 3]}"),
    "everything": weights(FILE)
    + MORE("layout: torch")
    + MORE("paper: https://arxiv.org/abs/1")
    + MORE("metrics: {accuracy: 1}")
    + MORE("preprocess: {ink: light}"),
}

# what is wrong -> content, and what the message says about it
FAULTS = {
    "empty file": ("", "the file: expected a mapping, found nothing"),
    "a list": ("- a\n- b\n", "the file: expected a mapping, found a list"),
    "text": ("models", "the file: expected a mapping, found 'models'"),
    "no models": ("{}", "models: missing"),
    "models is a list": ("models: [a]", "models: expected a mapping, found a list"),
    "another top key": (HEAD + "model: {}\n", "model: unknown field; did you mean 'models'"),
    "two documents": (HEAD + "---\n" + HEAD, "more than one document"),
    "a directive": ("%YAML 1.1\n---\n" + HEAD, "a directive (%YAML or %TAG)"),
    "a tab": (HEAD.replace("MIT", "M\tIT"), "line 7: a tab; remove it"),
    "a byte order mark": ("\ufeff" + HEAD, "line 1: a byte order mark"),
    "NUL": (HEAD + "\0", "line 9: a NUL"),
    "broken": (HEAD + "  }", "line 9, column 3"),
    "cut off": (weights(FILE)[:-3], "line 10, column 1"),
    "not UTF-8": (HEAD.encode() + b"\xff", "not UTF-8 at byte"),
    "UTF-16": (HEAD.encode("utf-16-le"), "a NUL"),
    "duplicate model": (HEAD + HEAD.removeprefix("models:\n"), "models.net: occurs twice"),
    "duplicate field": (HEAD + MORE("license: BSD"), "models.net.license: occurs twice"),
    "duplicate in flow": (weights(f"{FILE}, size: 9"), "models.net.weights.size: occurs twice"),
    "an anchor": (HEAD.replace("MIT", "&a MIT"), "models.net.license: an anchor (&a); remove it"),
    "an alias": (HEAD.replace("MIT", "*a"), "models.net.license: an alias (*a); write the value out"),
    "a merge key": (HEAD + MORE("<<: {paper: x}"), "models.net.<<: unknown field"),
    "a Python object": (
        HEAD.replace("MIT", "!!python/object/apply:os.system ['true']"),
        "models.net.license: a tag (tag:yaml.org,2002:python/object/apply:os.system); remove it",
    ),
    "a standard tag": (HEAD.replace("MIT", "!!str MIT"), "models.net.license: a tag"),
    "very deep": (HEAD + MORE("paper: " + "[" * 900 + "]" * 900), "nested more than 16 deep"),
    "a name that is a number": (HEAD.replace("net:", "7:"), "models: the key 7 is not text; quote it"),
    "a name with a slash": (
        HEAD.replace("net:", "a/b:"),
        "models: the key 'a/b': expected a lower-case name",
    ),
    "a mapping as key": (HEAD.replace("net:", "? {a: b}\n  :"), "models: the key {'a': 'b'} is not text"),
    "a missing field": (HEAD.replace("    family: cnn\n", ""), "models.net.family: missing"),
    "an unknown field": (HEAD + MORE("num_param: 3"), "did you mean 'num_params'?"),
    "a field that resembles none": (
        HEAD + MORE("qqq: 3"),
        "models.net.qqq: unknown field; the fields are family",
    ),
    "an entry that is text": ("models: {net: cnn}", "models.net: expected a mapping, found 'cnn'"),
    "family in capitals": (HEAD.replace("cnn", "CNN"), "models.net.family: expected a lower-case identifier"),
    "a private family": (
        HEAD.replace("cnn", "_arrays"),
        "models.net.family: expected a lower-case identifier",
    ),
    "count as text": (
        HEAD.replace("7", "'7'"),
        "models.net.num_params: expected a whole number >= 0, found '7'",
    ),
    "count as float": (HEAD.replace("7", "7.0"), "models.net.num_params: expected a whole number"),
    "count as boolean": (HEAD.replace("7", "true"), "models.net.num_params: expected a whole number"),
    "an infinite number": (HEAD.replace("[1, 2]", "1e999"), "models.net.config.channels: 1e999 is no finite"),
    "shape with text": (HEAD.replace("[1, 28,", "[1, x,"), "models.net.inputs[0].shape[1]: expected a whole"),
    "shape with zero": (
        HEAD.replace("[1, 28,", "[0, 28,"),
        "models.net.inputs[0].shape[0]: expected a whole",
    ),
    "no inputs": (
        HEAD.replace("[{name: images, shape: [1, 28, 28, 1], dtype: float32}]", "[]"),
        "models.net.inputs: expected one or more, found none",
    ),
    "unknown dtype": (HEAD.replace("float32", "float31"), "models.net.inputs[0].dtype: expected a dtype"),
    "license with two lines": (
        HEAD.replace("MIT", '"M\\nIT"'),
        "models.net.license: expected a line of text",
    ),
    "metrics of text": (
        HEAD + MORE("metrics: {a: best}"),
        "models.net.metrics.a: expected a number, found 'best'",
    ),
    "metrics without weights": (
        HEAD + MORE("metrics: {a: 1}"),
        "models.net.metrics: is there without weights",
    ),
    "layout without weights": (HEAD + MORE("layout: torch"), "models.net.layout: is there without weights"),
    "hash of digits": (
        weights(FILE.replace(SHA, "1" * 64)),
        f"models.net.weights.sha256: expected 64 lower-case hexadecimal digits, found {'1' * 64}; quote it",
    ),
    "hash like a number": (weights(FILE.replace(SHA, "12e" + "1" * 61)), "12e1111"),
    "hash null": (weights(FILE.replace(SHA, "null")), "models.net.weights.sha256: expected 64"),
    "hash missing": (weights("file: a.safetensors, size: 9"), "models.net.weights.sha256: missing"),
    "hash too short": (weights(FILE.replace(SHA, SHA[:63])), "expected 64 hexadecimal digits, found 63"),
    "hash too long": (weights(FILE.replace(SHA, SHA + "0")), "models.net.weights.sha256: expected 64"),
    "hash in capitals": (weights(FILE.replace(SHA, SHA.upper())), "models.net.weights.sha256: expected 64"),
    "hash with its kind": (
        weights(FILE.replace(SHA, "sha256:" + SHA)),
        "models.net.weights.sha256: expected 64",
    ),
    "hash of zeros": (weights(FILE.replace(SHA, f"'{'0' * 64}'")), "expected the hash, found zeros"),
    "bundled and unattested": (
        weights(FILE.replace(SHA, "unattested")),
        "expected the hash, found 'unattested'",
    ),
    "url without its prefix": (
        weights(f"{URL}, sha256: unattested"),
        "expected the hash, found 'unattested'",
    ),
    "url with another prefix": (
        weights(f"{URL}, sha256: {SHA[::-1]}"),
        "expected 01234567... as the url says",
    ),
    "size as text": (
        weights(FILE.replace("9}", "'9'}").replace("size: 9", "size: '9'")),
        "weights.size: expected",
    ),
    "bundled without size": (weights(FILE.replace(", size: 9", "")), "models.net.weights.size: missing"),
    "weights without a place": (weights(f"sha256: {SHA}"), "or url; found none of them"),
    "weights in two places": (weights(f"{FILE}, {URL}"), "or url; found file, url"),
    "repository without revision": (weights(f"{FILE}, repo: a/b"), "or url; found file, repo"),
    "parent directory": (
        weights(FILE.replace("a.s", "../../a.s")),
        "weights.file: expected a plain file name",
    ),
    "absolute": (weights(FILE.replace("a.s", "/etc/a.s")), "weights.file: expected a plain file name"),
    "backslash": (weights(FILE.replace("a.s", "a\\b.s")), "weights.file: expected a plain file name"),
    "parent inside": (weights(FILE.replace("a.s", "a/../a.s")), "weights.file: expected a plain file name"),
    "empty name": (weights(FILE.replace("a.safetensors", "''")), "weights.file: expected a plain file name"),
    "repository as address": (
        weights(HUB.replace("owner/name", "https://huggingface.co/owner/name")),
        "models.net.weights.repo: expected a repository as owner/name",
    ),
    "repository without owner": (weights(HUB.replace("owner/", "")), "weights.repo: expected a repository"),
    "revision is a branch": (weights(HUB.replace(COMMIT, "main")), "weights.revision: expected a commit"),
    "revision too short": (weights(HUB.replace(COMMIT, "0123456")), "weights.revision: expected a commit"),
    "revision like a time": (weights(HUB.replace(COMMIT, "12:30:45")), "found '12:30:45'"),
    "revision like a date": (weights(HUB.replace(COMMIT, "2024-01-01")), "found '2024-01-01'"),
    "revision like a float": (weights(HUB.replace(COMMIT, "1.0")), "found 1.0; quote it"),
    "revision like an int": (weights(HUB.replace(COMMIT, "1234567")), "found 1234567; quote it"),
    "url without scheme": (
        weights(f"url: example.org/a.pth, sha256: {SHA}"),
        "weights.url: expected an https",
    ),
    "url with a password": (
        weights(f"url: https://a:b@example.org/a, sha256: {SHA}"),
        "weights.url: expected",
    ),
    "url of a file": (weights(f"url: file:///etc/passwd, sha256: {SHA}"), "weights.url: expected an https"),
    "ink of photos": (
        HEAD + MORE("preprocess: {ink: light, crop: 3}"),
        "preprocess.crop: unknown field; the fields are ink",
    ),
    "preprocess says nothing": (HEAD + MORE("preprocess: {}"), "preprocess.interpolation: missing"),
    "a crop larger than the picture": (
        HEAD + MORE("preprocess: {resize: 3, crop: 4, interpolation: bicubic}"),
        "models.net.preprocess.crop: expected at most resize, 3, found 4",
    ),
    "a deviation of zero": (
        HEAD + MORE("preprocess: {resize: 4, crop: 3, interpolation: bicubic, std: [1, 0, 1]}"),
        "models.net.preprocess: expected three numbers as mean, or one, and as many above 0 as std",
    ),
    "another interpolation": (
        HEAD + MORE("preprocess: {resize: 4, crop: 3, interpolation: area}"),
        "preprocess.interpolation: expected one of nearest, lanczos, bilinear, bicubic, box, hamming, found",
    ),
    "three sides": (
        HEAD + MORE("preprocess: {resize: [4, 3, 2], crop: 3, interpolation: bicubic}"),
        "preprocess.resize: expected a number of pixels, or height and width, found 3 numbers",
    ),
    "a default that is no tag": (
        HEAD + TAGS.replace("default: old", "default: odd"),
        "models.net.default: no tag 'odd'; the tags are old, new",
    ),
    "a default without tags": (HEAD + MORE("default: old"), "no tag 'old'; the tags are none"),
    "a tag without weights": (
        HEAD + MORE("tags: {old: {source: a}}"),
        "models.net.tags.old.weights: missing",
    ),
    "a tag with another architecture": (
        HEAD + TAGS.replace("source: there", "family: mlp"),
        "models.net.tags.new.family: unknown field",
    ),
    "a tag that is a model": (
        HEAD + TAGS + HEAD.removeprefix("models:\n").replace("net:", "net.old:"),
        "models.net.old: is the name of two models",
    ),
    "another ink": (HEAD + MORE("preprocess: {ink: dark}"), "preprocess.ink: expected 'light', found 'dark'"),
}
