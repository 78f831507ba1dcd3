"""The contract between an architecture's file and the rest of the zoo."""

from types import ModuleType

import pytest

import zoo
from zoo._registry import families, manifest
from zoo._registry.family import Family


def module(**names):
    made = ModuleType("zoo.made", "A family.\n\nMore about it.")
    vars(made).update(names)
    return made


def create():
    """Builds nothing.

    Args:
        depth: One of DEPTHS.
    """


@pytest.mark.parametrize("name", families.names())
def test_every_family_of_the_zoo_keeps_the_contract(name):
    family = families.named(name)
    assert family.name == name
    assert family.summary
    assert family.create


def test_the_families_are_those_of_the_manifest_and_of_its_model_types():
    known = manifest.read()
    assert {entry.family for entry in known.models.values()} <= {*families.names()}
    read = {kind: name for name in families.names() for kind in families.named(name).config_fields}
    assert read == dict(known.model_types)


def test_a_family_has_what_its_file_has_and_defaults():
    family = Family.of(module(create=create, HEAD=("fc",), DEPTHS={1: 2}, _OWN=3, MLP=type))
    assert family.create is create
    assert family.head == ("fc",)
    assert family.neck == ()
    assert family.ignored == {}
    assert family.name == "made"
    assert family.summary == "A family."
    assert family.sample is None
    assert family.inputs(None, (1, 2)) == (1, 2)


@pytest.mark.parametrize("name", ["IGNORD", "TORCH_NAME", "CONFIG_FIELD"])
def test_a_misspelt_name_is_refused_with_the_right_one(name):
    with pytest.raises(zoo.ZooError, match=rf"zoo\.made has {name}, .* did you mean [A-Z_]+\?"):
        Family.of(module(create=create, **{name: {}}))


def test_a_constant_that_nothing_reads_is_refused():
    with pytest.raises(
        zoo.ZooError, match="WEIRD, which nothing in the zoo reads; a constant of its own is _W"
    ):
        Family.of(module(create=create, WEIRD=3))


def test_layers_as_text_are_refused():
    with pytest.raises(zoo.ZooError, match=r"zoo\.made\.HEAD is text; expected a tuple"):
        Family.of(module(create=create, HEAD="fc"))


def test_a_module_without_create_is_refused():
    with pytest.raises(zoo.ZooError, match=r"zoo\.made has no create\(\)"):
        Family.of(module())
