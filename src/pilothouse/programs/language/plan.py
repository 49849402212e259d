"""From options to a plan: every number settled before the first step, and refused where two contradict each other."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Final

from pilothouse.programs.language import flops
from pilothouse.programs.language.attention import chosen_kernel
from pilothouse.programs.language.checkpoint import Training
from pilothouse.programs.language.corpus import Corpus, Sizes
from pilothouse.programs.language.learner import Recipe
from pilothouse.programs.language.model import Arithmetic
from pilothouse.programs.language.optimiser import Rule
from pilothouse.programs.language.options import PACE_OPTIONS, Options
from pilothouse.programs.language.placement import Placement
from pilothouse.programs.language.presets import PRESETS, Preset
from pilothouse.programs.language.schedule import Schedule
from pilothouse.trainer import JSON, OptionRefused
from pilothouse.trainer.values import canonical

_VOCABULARY_STEP: Final = 128
"""Matrix units take sides that are multiples of this at full speed."""

_LOSS_TOKENS: Final = 16_384
"""Tokens whose logits an accelerator has in memory at once: 2 GiB at 32,768 tokens of the vocabulary."""
_LOSS_TOKENS_CPU: Final = 8192
_FEW_LAYERS: Final = 4
_FEW_LAYERS_ELSEWHERE: Final = 12
"""Up to so many layers are laid out on an accelerator: a loop copies what it keeps into stacks and out again."""
_DEVICE_TOKENS: Final = 65_536
"""Tokens an accelerator takes at once: `daily-125m` keeps 15 GB of its layers for the backward pass by `light`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is fixed before the first step."""

    options: Options
    preset: Preset
    """With every value that the config has replaced."""
    recipe: Recipe
    schedule: Schedule
    vocabulary: int
    """Rounded up, as the network has it."""
    tokens_known: int
    """As the tokeniser has it."""
    total: int
    seed: int
    beside: bool
    """Whether checkpoints are written beside the training."""
    training: Training
    """What the checkpoints are to say, at step 0."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens that a step trains on."""
        return self.preset.batch * self.preset.sequence

    @property
    def parameters(self) -> int:
        """All that is learnt."""
        return flops.parameter_count(self.preset.shape, self.vocabulary)

    @property
    def nominal_flops_per_step(self) -> float:
        """6 times parameters times tokens."""
        return 6.0 * self.parameters * self.tokens_per_step

    @property
    def true_flops_per_step(self) -> float:
        """All matrix products, attention as a causal kernel does it."""
        by_token = flops.true_flops_per_token(self.preset.shape, self.vocabulary, self.preset.sequence)
        return by_token * self.tokens_per_step

    def checkpoint_is_due(self, step: int) -> bool:
        """Tell whether `step` steps done call for a checkpoint, the last excepted."""
        return step % self.options.checkpoint_every == 0 and step < self.total

    def evaluation_is_due(self, step: int) -> bool:
        """Tell whether `step` steps done call for a measurement, the last excepted."""
        return self.options.eval_every > 0 and step % self.options.eval_every == 0 and step < self.total


def settled_preset(options: Options) -> Preset:
    """Return the preset with the config's own values in the place of its."""
    preset = PRESETS[options.preset]
    tied = preset.shape.tied if options.embeddings == "preset" else options.embeddings == "tied"
    return replace(
        preset,
        shape=replace(preset.shape, tied=tied),
        tokeniser=preset.tokeniser if options.tokeniser == "preset" else options.tokeniser,
        vocabulary=options.vocabulary or preset.vocabulary,
        sequence=options.sequence_length or preset.sequence,
        batch=options.batch_size or preset.batch,
        flops_target=options.flops_target or preset.flops_target,
        learning_rate=options.learning_rate or preset.learning_rate,
        warmup=preset.warmup if options.warmup < 0 else options.warmup,
        eval_examples=options.eval_examples or preset.eval_examples,
        eval_bytes=options.eval_bytes or preset.eval_bytes,
        eval_rows=options.eval_rows or preset.eval_rows,
    )


def sizes_of(preset: Preset) -> Sizes:
    """Return what the corpus must know of a preset."""
    return Sizes(
        tokeniser=preset.tokeniser,
        vocabulary=preset.vocabulary,
        sequence=preset.sequence,
        eval_examples=preset.eval_examples,
        eval_bytes=preset.eval_bytes,
    )


def padded(vocabulary: int) -> int:
    """Return the number of tokens that the network has for a tokeniser's."""
    return -(-vocabulary // _VOCABULARY_STEP) * _VOCABULARY_STEP


def make_plan(options: Options, preset: Preset, corpus: Corpus, placement: Placement, *, seed: int) -> Plan:
    """Settle a run's numbers; raises OptionRefused where they contradict each other."""
    vocabulary = padded(corpus.tokeniser.vocabulary)
    parameters = flops.parameter_count(preset.shape, vocabulary)
    total = options.steps or flops.step_count(
        flops_target=preset.flops_target, parameters=parameters, batch=preset.batch, sequence=preset.sequence
    )
    _check_evaluation_rows(preset, placement)
    on_cpu = placement.platform == "cpu"
    return Plan(
        options=options,
        preset=preset,
        recipe=recipe_of(options, preset, placement),
        schedule=Schedule(
            kind=options.schedule,
            peak=preset.learning_rate,
            total=total,
            warmup=preset.warmup,
            decay=options.decay,
            final=options.final_rate,
        ),
        vocabulary=vocabulary,
        tokens_known=corpus.tokeniser.vocabulary,
        total=total,
        seed=seed,
        beside=not on_cpu if options.checkpoint_writes == "auto" else options.checkpoint_writes == "beside",
        training=Training(
            preset=options.preset,
            vocabulary=vocabulary,
            tokeniser=corpus.tokeniser.digest,
            step=0,
            identity=_identity(options, preset, corpus, total=total, seed=seed),
        ),
    )


def recipe_of(options: Options, preset: Preset, placement: Placement) -> Recipe:
    """Return what a compiled step depends on, with what `auto` means on these devices; may raise OptionRefused."""
    _check_micro_batch(options, preset, placement)
    on_cpu = placement.platform == "cpu"
    half = not on_cpu if options.precision == "auto" else options.precision == "bfloat16"
    kernel = chosen_kernel(options.attention, platform=placement.platform, half=half, head_size=preset.shape.head_size)
    if kernel == "cudnn" and (on_cpu or not half):
        raise OptionRefused(
            f"attention = 'cudnn' works on an NVIDIA GPU in bfloat16, not on {placement.platform} "
            f"in {'bfloat16' if half else 'float32'}.",
            fix="give attention = 'auto'.",
        )
    return Recipe(
        shape=preset.shape,
        rule=Rule(
            muon=options.optimizer == "muon",
            beta1=options.beta1,
            beta2=options.beta2,
            epsilon=options.epsilon,
            momentum=options.momentum,
            clip_norm=options.clip_norm,
            half=half,
        ),
        arithmetic=Arithmetic(
            half=half,
            kernel=kernel,
            remat=("none" if on_cpu else "light") if options.remat == "auto" else options.remat,
            unroll=_unroll(options, preset, on_cpu=on_cpu),
        ),
        z_loss=options.z_loss,
        loss_tokens=options.loss_chunk or (_LOSS_TOKENS_CPU if on_cpu else _LOSS_TOKENS),
        micro_batch=_micro_batch(options, preset, placement),
    )


def _unroll(options: Options, preset: Preset, *, on_cpu: bool) -> int:
    """Return how many layers stand in a turn: all of a small network, which then is faster and compiles longer."""
    layers = preset.shape.layers
    by_device = layers if layers <= (_FEW_LAYERS if on_cpu else _FEW_LAYERS_ELSEWHERE) else 1
    return min(options.unroll or by_device, layers)


def _micro_batch(options: Options, preset: Preset, placement: Placement) -> int:
    """Return how many sequences a device takes at once: what was asked, on a CPU all, else what memory bears."""
    share = preset.batch // placement.count
    if options.micro_batch or placement.platform == "cpu":
        return options.micro_batch
    bearable = max(1, _DEVICE_TOKENS // preset.sequence)
    return max(size for size in range(1, min(share, bearable) + 1) if share % size == 0)


def _check_micro_batch(options: Options, preset: Preset, placement: Placement) -> None:
    share = preset.batch // placement.count
    if options.micro_batch and options.micro_batch < share and share % options.micro_batch:
        raise OptionRefused(
            f"micro_batch = {options.micro_batch} does not divide the {share} sequences of a device.",
            fix=f"give a divisor of {share}.",
        )


def _check_evaluation_rows(preset: Preset, placement: Placement) -> None:
    if preset.eval_rows % placement.count:
        raise OptionRefused(
            f"eval_rows = {preset.eval_rows} cannot be shared evenly by {placement.count} devices.",
            fix=f"give a multiple of {placement.count}.",
        )


def _identity(options: Options, preset: Preset, corpus: Corpus, *, total: int, seed: int) -> str:
    """Digest what decides the outcome, so that no checkpoint is taken for another training's."""
    told: dict[str, JSON] = {name: value for name, value in asdict(options).items() if name not in PACE_OPTIONS}
    measured_by = {"eval_examples", "eval_bytes", "eval_rows"}
    sizes: dict[str, JSON] = {name: value for name, value in asdict(preset).items() if name not in measured_by}
    said: dict[str, JSON] = {
        "options": told,
        "preset": sizes,
        "total": total,
        "seed": seed,
        "data": corpus.training_digest,
        "mix": dict(corpus.weights),
    }
    return hashlib.sha256(canonical(said)).hexdigest()
