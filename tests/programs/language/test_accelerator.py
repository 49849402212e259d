"""The step as an NVIDIA GPU gets it, lowered on a processor at its real sizes: no array is made, and none could be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Final

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from pilothouse.programs.language import flops, learner, model, plan
from pilothouse.programs.language.attention import FUSED
from pilothouse.programs.language.learner import Reader, Recipe
from pilothouse.programs.language.options import Options
from pilothouse.programs.language.placement import Placement, place
from pilothouse.programs.language.presets import PRESETS, Preset

_MEMORY: Final = 139 * 2**30
"""Bytes of an H200."""
_PRESETS: Final = ("canary", "daily-125m")
_PRODUCT: Final = re.compile(r"stablehlo\.dot_general .*: \(tensor<(\S+)>, tensor<(\S+)>\) -> tensor<(\S+)>")
_CALLED: Final = re.compile(r"stablehlo\.custom_call @([\w$]+)")
_LEAVES_THE_DEVICE: Final = re.compile(r"callback|infeed|outfeed|stablehlo\.send|stablehlo\.recv|host_compute")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gpu(Placement):
    """One device that answers as a GPU does, for all that is chosen by the kind of device."""

    @property
    def platform(self) -> str:
        return "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lowered:
    preset: Preset
    recipe: Recipe
    vocabulary: int
    traced: Any
    """Its `jaxpr` is the step before JAX lowers it."""
    text: str
    """What the compiler is given."""
    state_bytes: int
    state_arrays: int

    @property
    def at_once(self) -> int:
        """Tokens that the device takes at once."""
        return self.recipe.micro_batch * self.preset.sequence


@pytest.fixture(name="lowered", scope="module", params=_PRESETS)
def _lowered(request: pytest.FixtureRequest) -> Iterator[_Lowered]:
    """JAX asks the loaded cuDNN for its version before it writes the call of the kernel; none is loaded here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_attention_stablehlo, "cuda_versions", SimpleNamespace(cudnn_get_version=lambda: 91_000))
        yield _lower(request.param)


def _lower(name: str) -> _Lowered:
    preset, recipe, gpu = _settled(name)
    vocabulary = plan.padded(preset.vocabulary)
    learnt = learner.abstract(preset.shape, vocabulary, recipe.rule)
    tokens = model.form((preset.batch, preset.sequence + 1), jnp.int32)
    traced = learner.trace_step(recipe, gpu, learnt, tokens)
    leaves = jax.tree_util.tree_leaves(learnt)
    return _Lowered(
        preset=preset,
        recipe=recipe,
        vocabulary=vocabulary,
        traced=traced,
        text=traced.lower(lowering_platforms=("cuda",)).as_text(),
        state_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in leaves),
        state_arrays=len(leaves),
    )


def _settled(name: str, **options: Any) -> tuple[Preset, Recipe, Placement]:
    chosen = Options(preset=name, **options)
    preset = plan.settled_preset(chosen)
    gpu = _gpu(preset)
    return preset, plan.recipe_of(chosen, preset, gpu), gpu


def _gpu(preset: Preset) -> Placement:
    return _Gpu(mesh=place(1, preset.batch).mesh)


def _inner(equation: Any) -> Iterator[Any]:
    """Yield the programs that an operation holds."""
    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else [value]:
            if (inside := getattr(part, "jaxpr", part)) is not part or hasattr(part, "eqns"):
                yield inside


def _operations(program: Any, times: int = 1) -> Iterator[tuple[Any, int]]:
    """Yield every operation with how often a step does it."""
    for equation in program.eqns:
        yield equation, times
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        for inside in _inner(equation):
            yield from _operations(inside, times * turns)


def _product_flops(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * math.prod(int(shape[axis]) for axis in contracted) * int(equation.outvars[0].aval.size)


def _kept(lowered: _Lowered) -> list[Any]:
    """Return what the layers keep for the backward pass: what the first loop over them stacks up."""
    loops = (each for each, _ in _operations(lowered.traced.jaxpr.jaxpr) if each.primitive.name == "scan")
    layers = next(loop for loop in loops if loop.params["length"] == lowered.preset.shape.layers)
    return [result.aval for result in layers.outvars[layers.params["num_carry"] :]]


def test_every_product_has_half_precision_operands(lowered: _Lowered) -> None:
    """And results too, but for the logits and the gradient of the head, which the loss wants in float32."""
    found = _PRODUCT.findall(lowered.text)
    operands = {side.rsplit("x", 1)[1] for left, right, _ in found for side in (left, right)}
    wide = [result for *_, result in found if not result.endswith("bf16")]

    width, chunk = lowered.preset.shape.width, lowered.recipe.loss_tokens
    assert len(found) == 3 * 7 + 3, "seven matrices of a layer and the head, each forward and twice backward"
    assert operands == {"bf16"}
    assert wide == [f"{chunk}x{lowered.vocabulary}xf32", f"{lowered.vocabulary}x{width}xf32"]


def test_attention_is_one_fused_call_each_way(lowered: _Lowered) -> None:
    """Nothing else is called; the backward pass takes what the forward pass kept and does not call it again."""
    assert _CALLED.findall(lowered.text) == ["__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward"]
    calls = [times for each, times in _operations(lowered.traced.jaxpr.jaxpr) if str(each.primitive).startswith(FUSED)]
    assert calls == [lowered.preset.shape.layers * lowered.preset.batch // lowered.recipe.micro_batch]


def test_the_state_is_taken_over_and_nothing_leaves_the_device(lowered: _Lowered) -> None:
    """Each array of the state lends its memory to the new one of its form."""
    assert len(re.findall(r"tf\.aliasing_output", lowered.text)) == lowered.state_arrays
    assert not _LEAVES_THE_DEVICE.search(lowered.text)


def test_layers_are_laid_out_and_micro_batches_are_not(lowered: _Lowered) -> None:
    """Two loops are left, over micro-batches and over pieces of the loss; each layer is called by itself."""
    calls = re.findall(r"call @(closed_call\w*)\(", lowered.text)
    often = sorted(calls.count(name) for name in set(calls))

    assert lowered.text.count("stablehlo.while") == 2
    assert often[-2:] == [lowered.preset.shape.layers] * 2


def test_the_products_of_a_step_are_those_that_are_told(lowered: _Lowered) -> None:
    """To the last one; the fused kernel's are told as half of the plain ones, since it leaves out what is masked."""
    tokens = lowered.preset.batch * lowered.preset.sequence
    sizes = (lowered.preset.shape, lowered.vocabulary)
    done = sum(
        times * _product_flops(each)
        for each, times in _operations(lowered.traced.jaxpr.jaxpr)
        if each.primitive.name == "dot_general"
    )
    told = flops.true_flops_per_token(*sizes, lowered.preset.sequence)
    attention = 12 * lowered.preset.shape.layers * lowered.preset.shape.width * (lowered.preset.sequence + 1) / 2

    assert done == (told - attention) * tokens
    nominal = 6 * flops.parameter_count(*sizes) * tokens
    looked_up = 0 if lowered.preset.shape.tied else lowered.vocabulary * lowered.preset.shape.width
    norms = (2 * lowered.preset.shape.layers + 1) * lowered.preset.shape.width
    assert done == nominal - 6 * (looked_up + norms) * tokens


def test_a_layer_keeps_its_products_and_little_else(lowered: _Lowered) -> None:
    """In half precision, but for the statistics of attention: one number a head and position."""
    kept, shape = _kept(lowered), lowered.preset.shape
    wide = [array for array in kept if array.dtype != jnp.bfloat16]
    numbers = 4 * shape.width + 2 * shape.key_heads * shape.head_size + 2 * shape.hidden

    assert [array.size for array in wide] == [shape.layers * shape.heads * lowered.at_once]
    assert sum(array.size for array in kept) - wide[0].size == shape.layers * lowered.at_once * numbers


def test_a_step_needs_a_quarter_of_the_memory_at_most(lowered: _Lowered) -> None:
    """State, two gradients, what the layers keep, and three arrays as large as the logits of a piece."""
    kept = sum(array.size * array.dtype.itemsize for array in _kept(lowered))
    gradients = 2 * lowered.state_bytes // 3
    logits = 3 * 4 * lowered.recipe.loss_tokens * lowered.vocabulary

    assert lowered.state_bytes + gradients + kept + logits < _MEMORY / 4


def test_the_measuring_step_is_lowered_the_same_way(lowered: _Lowered) -> None:
    """One fused call, half precision everywhere, and layers in a loop: it keeps nothing that a loop would stack."""
    rows = model.form((lowered.preset.eval_rows, lowered.preset.sequence + 1), jnp.int32)
    weights = model.abstract(lowered.preset.shape, lowered.vocabulary)
    reader = Reader(lowered.recipe, _gpu(lowered.preset), rows=lowered.preset.eval_rows)
    text = reader._read.trace(weights, rows).lower(lowering_platforms=("cuda",)).as_text()

    assert _CALLED.findall(text) == ["__cudnn$fmhaSoftmax"]
    assert {side.rsplit("x", 1)[1] for left, right, _ in _PRODUCT.findall(text) for side in (left, right)} == {"bf16"}
    assert not _LEAVES_THE_DEVICE.search(text)
    assert text.count("stablehlo.while") == 2, "over layers and over pieces of the loss"


def test_what_is_kept_shrinks_from_none_to_full() -> None:
    """Keeping nothing extra is the cheapest, and nobody pays for what attention can give back."""
    kept = []
    for remat in ("none", "light", "full"):
        preset, recipe, _ = _settled("tiny", remat=remat, precision="bfloat16", attention="xla")
        rows = model.form((preset.batch, preset.sequence + 1), jnp.int32)
        program = jax.make_jaxpr(partial(learner._gradient_at_once, recipe))(model.abstract(preset.shape, 384), rows)
        layers = next(each for each, _ in _operations(program.jaxpr) if each.primitive.name == "scan")
        stacked = [each.aval for each in layers.outvars[layers.params["num_carry"] :]]
        kept.append(sum(array.size * array.dtype.itemsize for array in stacked))

    assert all(more > less for more, less in pairwise(kept))


@pytest.mark.parametrize(
    ("preset", "remat", "unroll"), [("canary", "light", 7), ("daily-125m", "light", 10), ("original-150m", "light", 6)]
)
def test_an_accelerator_gets_layers_laid_out_that_keep_their_products(preset: str, remat: str, unroll: int) -> None:
    """What `auto` and 0 mean there, and what a processor gets instead."""
    _, recipe, _ = _settled(preset)
    alone = plan.recipe_of(Options(preset=preset), PRESETS[preset], place(1, PRESETS[preset].batch))

    assert (recipe.arithmetic.remat, recipe.arithmetic.unroll) == (remat, unroll)
    assert (alone.arithmetic.remat, alone.arithmetic.unroll) == ("none", 1)
