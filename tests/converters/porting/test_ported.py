"""`converters.port`: what it returns, what it refuses, and what its proof finds."""

import copy
import linecache
import re
from threading import Thread

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn
from torch.nn import functional as F

import converters


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)
        self.aux = nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.training and x.shape[0] > 100:
            return self.aux(x.mean((2, 3)))
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    made = Small()
    made.aux.eval()
    return made


@pytest.fixture(scope="module")
def before(small):
    return {name: each.clone() for name, each in small.state_dict().items()}


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 8, 6)


@pytest.fixture(scope="module")
def ported(small, images, before):
    return converters.port(small, images)


def test_module_and_variables_give_the_torch_outputs(ported, small, images):
    (given,) = ported.inputs
    assert given.shape == (2, 8, 6, 3)  # channels last
    found = ported.module.apply(ported.variables, given)
    with torch.no_grad():
        expected = copy.deepcopy(small).eval()(images).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert ported.variables["params"]["conv1"]["kernel"].dtype == np.float32


def test_checkpoints_convert_without_names_or_rules(ported, small):
    again = converters.convert(small.state_dict(), ported.module, *ported.inputs, ignore=ported.ignore)
    np.testing.assert_array_equal(again["params"]["fc"]["kernel"], ported.variables["params"]["fc"]["kernel"])
    assert ported.names == ()


def test_create_takes_the_type_of_numbers_to_compute_in(ported):
    net = {"__name__": "net"}
    exec(ported.source, net)
    found = net["create"](dtype=jnp.bfloat16).apply(ported.variables, *ported.inputs)
    assert found.dtype == jnp.bfloat16
    wanted = ported.module.apply(ported.variables, *ported.inputs)
    np.testing.assert_allclose(found.astype(np.float32), wanted, atol=0.05)
    assert net["create"](num_classes=7).num_classes == 7


def test_report_compares_each_layer(ported):
    assert ported.report.ok
    assert [row.torch_name for row in ported.report.rows] == ["conv1", "bn1", "fc"]


def test_proof_has_outputs_gradients_and_statistics(ported):
    assert ported.proof.output < 1e-14
    assert 0 < ported.proof.gradients < 1e-12
    assert 0 < ported.proof.statistics < 1e-12


def test_parts_that_never_ran_are_named(ported):
    assert ported.ignore == (r"aux\..*",)
    assert any("aux" in note for note in ported.notes)
    assert "aux" not in ported.source.partition("class ")[2]


def test_module_keeps_its_mode_and_numbers(ported, small, before):
    assert small.training
    assert not small.aux.training
    assert all(torch.equal(each, before[name]) for name, each in small.state_dict().items())


def test_a_module_of_nnx_has_its_weights_and_trains_as_pytorch(small, images):
    found = converters.port(small, images, target="nnx")
    assert found.report.ok
    assert found.proof.output < 1e-14
    assert 0 < found.proof.gradients < 1e-12
    assert 0 < found.proof.statistics < 1e-12
    with torch.no_grad():
        expected = copy.deepcopy(small).eval()(images).numpy()
    given = found.inputs[0]
    np.testing.assert_allclose(found.module(given), expected, rtol=1e-5, atol=1e-6)  # in eval mode
    before = np.asarray(found.module.bn1.mean[...])
    found.module.train()
    found.module(given)
    assert np.abs(found.module.bn1.mean[...] - before).max() > 0
    nnx.update(found.module, found.variables)
    np.testing.assert_array_equal(found.module.bn1.mean[...], before)
    assert "class Small(nnx.Module):\n" in found.source
    assert "def create(*, rngs: nnx.Rngs, num_classes: int = 5) -> Small:\n" in found.source


class MultiHeadUnit(nn.Module):
    """Has a name like attention's, and one of two layers under one name."""

    def __init__(self, plain):
        super().__init__()
        self.fc = nn.Linear(5, 5)
        self.norm = nn.LayerNorm(5) if plain else nn.RMSNorm(5, eps=1e-5)
        self.out = nn.Linear(5, 5)

    def forward(self, x):
        return x + self.out(torch.relu(self.norm(self.fc(torch.tanh(x)))))


def test_a_name_of_several_layers_is_one_of_nnx():
    module = nn.Sequential(*map(MultiHeadUnit, (True, False, True)))
    found = converters.port(module, torch.randn(4, 5), target="nnx")
    assert found.proof.output < 1e-14
    assert found.source.count("class MultiHeadUnit") == found.source.count("self.norm = ") == 1
    assert "if layer_norm" in found.source
    assert found.source.count("self.norm(") == 1  # with nothing to ask in the call
    assert "self.layer_norm" not in found.source


def test_what_is_no_module_is_refused():
    with pytest.raises(converters.ConversionError, match=r"takes a torch\.nn\.Module, not a function"):
        converters.port(F.relu, torch.ones(2))


def test_other_targets_are_refused(small, images):
    with pytest.raises(converters.ConversionError, match="target='keras': expected 'linen' or 'nnx'"):
        converters.port(small, images, target="keras")
    with pytest.raises(converters.ConversionError, match="batch_norm='zoo' is linen's"):
        converters.port(small, images, target="nnx", batch_norm="zoo")


def test_inputs_that_do_not_run_are_refused_with_the_reason(small):
    with pytest.raises(converters.ConversionError, match="Small does not run on these inputs: RuntimeError"):
        converters.port(small, torch.randn(2, 5, 8, 8))
    with pytest.raises(converters.ConversionError, match="missing a required argument: 'x'"):
        converters.port(small)
    with pytest.raises(converters.ConversionError, match="give tensors"):
        converters.port(small, [1.0, 2.0])


def _write_another(monkeypatch, old, new):
    """Lets the port write something else than what the module does."""
    from converters.porting import port as writing

    plain = writing.file_source

    def wrong(*args, **options):
        text, root = plain(*args, **options)
        assert old in text
        return text.replace(old, new), root

    monkeypatch.setattr(writing, "file_source", wrong)


def test_a_difference_is_an_error_that_names_the_first_layer(small, images, monkeypatch):
    _write_another(monkeypatch, "nn.relu(", "nn.tanh(")
    with pytest.raises(
        converters.ConversionError, match="the written module is not the same: fc is the first"
    ):
        converters.port(small, images)


def test_a_difference_at_other_sizes_only_is_an_error(small, images, monkeypatch):
    _write_another(monkeypatch, "x.mean((1, 2))", "(x.sum((1, 2)) / 48)")
    with pytest.raises(converters.ConversionError, match="not the same at other sizes of the inputs"):
        converters.port(small, images)


class Odd(nn.Module):
    def forward(self, x):
        return torch.special.entr(x.abs())  # no handler


class Branching(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


class Whole(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 1)
        self.part = part
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.part(self.conv1(x)).mean((2, 3)))


class Deep(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.part = part

    def forward(self, x):
        return self.part(x) * self.scale


@pytest.mark.parametrize(("part", "line"), [(Odd, "torch.special.entr"), (Branching, "if x.mean() > 0")])
def test_a_part_that_cannot_be_ported_is_left_as_a_class_to_be_written(part, line, images):
    with pytest.raises(converters.ConversionError, match=r"test_ported\.py:\d+: ") as refused:
        converters.port(Whole(Deep(part())), images)
    source = refused.value.source
    assert source.count("raise NotImplementedError(") == 1
    assert f"{part.__name__} (part.part) takes (2, 8, 6, 4) float32 and gives (2, 8, 6, 4) float32" in source
    number = int(re.search(r"test_ported\.py:(\d+)", source)[1])
    assert line in linecache.getline(__file__, number)
    assert "name='fc'" in source.replace('"', "'")


def test_a_module_whose_own_forward_cannot_be_ported_has_no_source(images):
    with pytest.raises(converters.ConversionError) as refused:
        converters.port(Branching(), images)
    assert refused.value.source == ""


class Tables(nn.Module):
    """Has an array of its own, and a table that its state dict does not have."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(5, 5))
        self.register_buffer("table", torch.randn(5, 40), persistent=False)

    def forward(self, x):
        return (x @ self.positions) @ self.table


@pytest.mark.filterwarnings("error")
def test_own_arrays_are_kept_and_tables_that_no_checkpoint_has_are_constants():
    module = Tables()
    made = converters.port(module, torch.randn(2, 5))
    assert {*made.names} == {converters.Keep("positions"), converters.Keep("table")}
    assert [*made.constants] == ["table"]
    assert made.notes == ("has numbers that no checkpoint has, in `constants`: table",)
    tensors = {**module.state_dict(), **made.constants}
    again = converters.convert(tensors, made.module, *made.inputs, names=made.names)
    np.testing.assert_array_equal(again["buffers"]["table"], module.table.numpy())


class Busy(nn.Module):
    """Runs another module in another thread, and raises."""

    def __init__(self, error=None):
        super().__init__()
        self.fc, self.error, self.others = nn.Linear(4, 2), error, (nn.ReLU(),)

    def forward(self, x):
        Thread(target=self.others[0], args=(torch.ones(1),)).start()
        if self.error and torch.compiler.is_exporting():
            raise self.error
        return self.fc(x)


def test_torch_is_as_before_when_a_port_ends_and_other_threads_are_not_ported():
    before = nn.Module.__call__, torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(KeyboardInterrupt):
        converters.port(Busy(KeyboardInterrupt()), torch.randn(2, 4))
    made = converters.port(Busy(), torch.randn(2, 4))
    assert "relu" not in made.source
    assert not torch.compiler.is_exporting()
    after = nn.Module.__call__, torch.get_default_dtype(), torch.backends.mha.get_fastpath_enabled()
    assert after == before
