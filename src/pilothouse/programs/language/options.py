"""What config.json may say: every option of a run, with its range.

The first part is the edit surface: what a proposal may move. The rest says how large a run is, what it reads, how it is
measured, and what it tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilothouse import trainer
from pilothouse.programs.language.presets import PRESETS

PACE_OPTIONS: Final = frozenset(
    {
        "log_every", "checkpoint_every", "checkpoint_writes", "trailing_steps", "peak_tflops", "compile_cache",
        "data_cache", "eval_every", "eval_first", "eval_sources", "eval_examples", "eval_bytes", "eval_rows",
        "eval_digest", "diverged_above", "text_folder", "token_folder",
    }
)  # fmt: skip
"""Options that change what is told, kept and measured, not what is learnt; folders count by their content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a run; 0 and `preset` mean: as the preset says."""

    # ------------------------------------------------------------------ the edit surface
    # Data mix: relative weights of the sources; 0 leaves one out.
    mix_library: float = trainer.bounded(1.0, low=0.0, high=1000.0)
    """The modules of the running Python's standard library."""
    mix_tests: float = trainer.bounded(0.0, low=0.0, high=1000.0)
    """The tests of the running Python's standard library."""
    mix_text: float = trainer.bounded(0.0, low=0.0, high=1000.0)
    """The documents in `text_folder`."""
    mix_tokens: float = trainer.bounded(0.0, low=0.0, high=1000.0)
    """The shards in `token_folder`."""
    mix_hub: float = trainer.bounded(0.0, low=0.0, high=1000.0)
    """The documents of `hub_dataset`."""

    # Learning rate and schedule.
    learning_rate: float = trainer.bounded(0.0, low=0.0, high=1.0)
    schedule: str = trainer.chosen("cosine", "linear", "wsd", "constant")
    warmup: float = trainer.bounded(-1.0, low=-1.0, high=1.0)
    """The share of steps over which the rate rises; -1: the preset's."""
    decay: float = trainer.bounded(0.2, low=0.0, high=1.0)
    """The share of steps over which `wsd` falls, at the end."""
    final_rate: float = trainer.bounded(0.1, low=0.0, high=1.0)
    """The rate at the end, as a share of the peak."""

    # Optimizer.
    optimizer: str = trainer.chosen("adamw", "muon")
    weight_decay: float = trainer.bounded(0.1, low=0.0, high=10.0)
    beta1: float = trainer.bounded(0.9, low=0.0, high=0.999999)
    beta2: float = trainer.bounded(0.95, low=0.0, high=0.999999)
    epsilon: float = trainer.bounded(1e-8, low=1e-16, high=1e-2)
    momentum: float = trainer.bounded(0.95, low=0.0, high=0.999999)
    """Muon's."""
    clip_norm: float = trainer.bounded(1.0, low=0.0, high=1e6)
    """The largest norm of the gradient; 0: any."""
    z_loss: float = trainer.bounded(1e-4, low=0.0, high=1.0)

    # Infrastructure.
    precision: str = trainer.chosen("auto", "float32", "bfloat16")
    attention: str = trainer.chosen("auto", "xla", "cudnn")
    remat: str = trainer.chosen("auto", "none", "light", "dots", "full")
    unroll: int = trainer.bounded(0, low=0, high=1000)
    """Layers laid out one after the other in each turn of the loop over layers; 0: chosen by the device."""
    micro_batch: int = trainer.bounded(0, low=0, high=1_000_000)
    """Sequences a device takes at once; 0: chosen by the device."""
    loss_chunk: int = trainer.bounded(0, low=0, high=100_000_000)
    """Tokens whose logits are in memory at once; 0: chosen by the device."""
    checkpoint_writes: str = trainer.chosen("auto", "waiting", "beside")
    deterministic: bool = False
    devices: int = trainer.bounded(0, low=0, high=1_000_000)
    """How many of the devices to use; 0: all."""
    distributed: bool = False
    """Join the other hosts of this run first; each has a run folder of its own and writes the same files."""
    # ------------------------------------------------------------------ end of the edit surface

    # How large.
    preset: str = trainer.chosen(*PRESETS)
    sequence_length: int = trainer.bounded(0, low=0, high=1_048_576)
    batch_size: int = trainer.bounded(0, low=0, high=1_000_000)
    flops_target: float = trainer.bounded(0.0, low=0.0, high=1e30)
    steps: int = trainer.bounded(0, low=0, high=1_000_000_000)
    """How many steps, whatever the FLOPs target; 0: as many as the target gives."""
    embeddings: str = trainer.chosen("preset", "tied", "untied")
    tokeniser: str = trainer.chosen("preset", "bytes", "bpe", "tiktoken", "none")
    vocabulary: int = trainer.bounded(0, low=0, high=1_000_000)

    # What it reads.
    text_folder: str | None = None
    text_column: str = "text"
    token_folder: str | None = None
    token_layout: str = trainer.chosen("auto", "uint16", "uint32")
    """The numbers in shards without a header; `auto` takes uint16."""
    tiktoken_encoding: str = "gpt2"
    hub_dataset: str | None = None
    hub_config: str | None = None
    hub_split: str = "train"
    hub_megabytes: int = trainer.bounded(100, low=1, high=100_000_000)

    # How it is measured.
    eval_sources: str = "library"
    """The sources whose validation documents are measured, by commas."""
    eval_every: int = trainer.bounded(0, low=0, high=1_000_000_000)
    eval_first: bool = True
    eval_examples: int = trainer.bounded(0, low=0, high=100_000_000)
    """How many examples of each source."""
    eval_bytes: int = trainer.bounded(0, low=0, high=100_000_000)
    eval_rows: int = trainer.bounded(0, low=0, high=1_000_000)
    eval_digest: str | None = None
    """What the evaluation set's digest must begin with; absent: any."""
    peak_tflops: float = trainer.bounded(0.0, low=0.0, high=1e9)
    """What a device can do at most; 0: its maker's figure, or on a CPU what is measured at the start."""
    trailing_steps: int = trainer.bounded(500, low=2, high=1_000_000)

    # What it tells and keeps.
    log_every: int = trainer.bounded(10, low=1, high=1_000_000)
    checkpoint_every: int = trainer.bounded(100, low=1, high=1_000_000_000)
    diverged_above: float = trainer.bounded(1.0, low=0.0, high=1e6)
    """How far the loss may lie above that of guessing, in nats, once the warm-up is over; 0: as far as it likes."""
    compile_cache: str | None = None
    """A folder for compiled programs; absent: the user's cache; empty: none."""
    data_cache: str | None = None
    """A folder for tokenised text; absent: the user's cache."""
