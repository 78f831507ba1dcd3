import csv
import io
import json
import re
from html import unescape
from pathlib import Path

import converters
import zoo
from scripts.site import api, architectures, certificates, guides, table
from zoo._registry import manifest

ENTRIES = list(manifest.read().models.values())


def test_the_table_has_every_entry_in_every_form():
    files = table.data(ENTRIES)
    script = files["_static/models-data.js"].removeprefix("window.zooModels = ").removesuffix(";\n")
    shown = json.loads(script)
    names = zoo.list_models()
    assert sorted(row[shown["columns"].index("name")] for row in shown["rows"]) == names
    assert sorted(each["name"] for each in json.loads(files["_static/models.json"])) == names
    assert sorted(each["name"] for each in csv.DictReader(io.StringIO(files["_static/models.csv"]))) == names


def test_the_page_of_models_offers_every_choice_and_draws_every_score():
    text = table.page(ENTRIES)
    assert {entry.family for entry in ENTRIES} <= set(re.findall(r"<option>(.*?)</option>", text))
    scored = {entry.name for entry in ENTRIES if "imagenet1k_val_top1" in entry.metrics}
    assert {unescape(tip).partition(":")[0] for tip in re.findall(r"<title>(.*?)</title>", text)} == scored


def test_an_architecture_has_its_variants_layers_and_options():
    entries = [entry for entry in ENTRIES if entry.family == "cnn"]
    text = architectures.page("cnn", entries)
    assert all(f'<tr id="{entry.name}">' in text for entry in entries)
    assert "| `convs_*` | 2 | kernel, bias |" in text
    assert ".. autofunction:: zoo.cnn.create" in text


def test_the_reference_has_every_public_name():
    pages = api.pages(guides.pages())
    for package in (zoo, converters):
        text = pages[f"api/{package.__name__}.md"]
        assert all(f":: {package.__name__}.{name}\n" in text for name in api.public(package.__name__))
    assert "Examples that run: [" in pages["api/zoo.md"]


def test_links_lead_to_pages():
    found = guides.pages()
    assert "(load.md)" in found["readme.md"]
    assert "(benchmarks.md#acceleratorpy)" in found["load.md"]
    assert "mermaid" not in found["architecture.md"]
    for name, text in found.items():
        links = re.findall(r"\]\((\w+\.md)", text)
        assert set(links) <= set(found), name


def test_every_guide_is_in_the_contents():
    contents = {
        word for name in ("index", "guides") for word in (guides.OWN / f"{name}.md").read_text().split()
    }
    stems = {path.stem for path in guides.DOCS.glob("*.md")}
    assert stems - {"coming_from"} <= contents  # which has a short title there
    assert "<coming_from>" in contents
    assert {f"notebook_{path.stem}" for path in guides.NOTEBOOKS.glob("*.ipynb")} <= contents


def test_a_notebook_is_a_page_of_its_texts_and_code_with_the_file_to_download():
    text = guides.pages()["notebook_quickstart.md"]
    assert text.startswith("# Quickstart\n")
    assert "{download}`quickstart.ipynb`" in text
    assert '```python\ncnn = zoo.load("cnn_mnist", pretrained=True)\n' in text
    assert "[finetune on your own classes](notebook_finetune.md)" in text


def test_certificates_have_the_largest_difference_of_each_case():
    printed = "outputs differ by {} torch from itself\ngradients differ by {} of the largest, torch"
    tests = "".join(
        f'<testcase name="test_outputs_and_gradients_match_pytorch[{mode}-cnn]">'
        f"<system-out>{printed.format(forward + ',', gradient)}</system-out></testcase>"
        for mode, forward, gradient in (("eval", "2.0e-16", "3.0e-15"), ("train", "4.0e-16", "1.0e-15"))
    )
    found = certificates.read(f"<testsuites>{tests}</testsuites>")
    assert found == {"cnn": {"cnn": {"eval": 2e-16, "train": 4e-16, "gradients": 3e-15}}}


def test_the_site_asks_no_other_server():
    for path in Path(guides.OWN).rglob("*"):
        if path.suffix in (".js", ".css"):
            assert "http" not in path.read_text(encoding="utf-8"), path
