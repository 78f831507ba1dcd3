import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from zoo._inference import xla
from zoo._inference.xla import channels_last_convolutions, compiler_options

LAYOUTS = [("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW"), ("CHWN", "IHWO", "HWNC")]
SIZES = {"N": 2, "C": 4, "H": 9, "W": 7, "I": 4, "O": 6}


def shaped(layout: str, kernel: tuple[int, int] | None = None, groups: int = 1) -> np.ndarray:
    sizes = SIZES | {"I": SIZES["I"] // groups}
    if kernel:
        sizes |= dict(zip("HW", kernel, strict=True))
    shape = [sizes[axis] for axis in layout]
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS, ids="-".join)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_and_its_gradients_are_the_same_whatever_the_layout(layout, groups):
    images, kernel = shaped(layout[0]), shaped(layout[1], (3, 2), groups)

    def total(images, kernel):
        out = lax.conv_general_dilated(
            images,
            kernel,
            window_strides=(2, 1),
            padding=((1, 1), (0, 1)),
            rhs_dilation=(1, 2),
            dimension_numbers=layout,
            feature_group_count=groups,
        )
        return jnp.sum(jnp.sin(out)), out

    def gradients(images, kernel):
        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(images, kernel)

    expected = gradients(images, kernel)
    found = jax.jit(channels_last_convolutions(gradients))(images, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_every_convolution_of_a_gradient_becomes_canonical():
    layout = LAYOUTS[1]

    def loss(kernel, images):
        return jnp.sum(
            lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout) ** 2
        )

    inputs = shaped("OIHW", (3, 3)), shaped("NCHW")
    text = str(jax.make_jaxpr(channels_last_convolutions(jax.grad(loss, argnums=(0, 1))))(*inputs))
    specs = [line for line in text.splitlines() if "lhs_spec" in line]
    assert len(specs) == 3
    canonical = "lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2)"
    assert all(canonical in line for line in specs)


def test_a_function_keeps_its_values_structure_and_nested_calls():
    @jax.custom_jvp
    def twice(x):
        return 2 * x

    @twice.defjvp
    def twice_jvp(primals, tangents):
        return twice(*primals), 2 * tangents[0]

    @jax.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -1, 1),))

    def function(tree, count):
        looped = lax.fori_loop(0, 3, lambda _, x: twice(x) + count, tree["a"])
        chosen = lax.cond(count > 0, jax.nn.relu, jnp.negative, clipped(looped))
        return {"sum": jax.jit(jnp.sum)(chosen), "same": tree}, [jnp.float32(1)]

    tree = {"a": jnp.arange(4.0), "key": jax.random.key(1)}
    found, expected = channels_last_convolutions(function)(tree, 2), function(tree, 2)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert float(found[0]["sum"]) == float(expected[0]["sum"])


def test_an_option_that_the_compiler_does_not_know_is_left_out(monkeypatch):
    xla._known.cache_clear()
    monkeypatch.setattr(xla, "EXPERIMENTAL", {"xla_of_another_version": "1"})
    assert compiler_options() == {}
    xla._known.cache_clear()


def test_the_options_are_the_callers_own():
    compiler_options()["changed"] = "1"
    options = compiler_options()
    assert "changed" not in options
    assert jax.jit(jnp.sin, compiler_options=options)(0.0) == 0


def test_other_backends_get_neither_options_nor_transposes(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options() == {}
    assert channels_last_convolutions(lambda x: [x])(3) == [3]


def test_what_a_product_reads_is_kept_until_operations_are_fused():
    def residual(x, kernels):
        for kernel in kernels:
            x = x + jnp.tanh(x @ kernel)
        return x

    arrays = np.ones((4, 8), np.float32), np.ones((3, 8, 8), np.float32)
    compiled = (
        jax.jit(channels_last_convolutions(residual), compiler_options=compiler_options())
        .lower(*arrays)
        .compile()
    )
    assert ("opt-barrier" in compiled.as_text()) == bool(compiler_options())
    np.testing.assert_allclose(compiled(*arrays), residual(*arrays), rtol=1e-6)
