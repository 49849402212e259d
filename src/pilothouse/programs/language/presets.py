"""The models by name: their sizes, and what a run of each takes from its preset where the config says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a decoder."""

    width: int
    heads: int
    key_heads: int
    """Heads of keys and values; fewer than `heads` is grouped-query attention (arXiv 2305.13245)."""
    layers: int
    hidden: int
    tied: bool
    """One matrix for the embedding and the head."""
    rotary_base: float = 10_000.0

    @property
    def head_size(self) -> int:
        """How many numbers each head works with."""
        return self.width // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A shape, and the values of a run that were tried with it."""

    shape: Shape
    tokeniser: str
    vocabulary: int
    """How many tokens a tokeniser that is trained here may have."""
    sequence: int
    batch: int
    """Sequences a step."""
    flops_target: float
    learning_rate: float
    warmup: float
    eval_examples: int
    eval_bytes: int
    """The longest evaluation example, in bytes of text."""
    eval_rows: int
    """Sequences an evaluation block."""


PRESETS: Final = {
    "nano": Preset(
        shape=Shape(width=128, heads=4, key_heads=4, layers=3, hidden=352, tied=True),
        tokeniser="bytes",
        vocabulary=257,
        sequence=256,
        batch=8,
        flops_target=5e11,
        learning_rate=6e-3,
        warmup=0.1,
        eval_examples=32,
        eval_bytes=1024,
        eval_rows=32,
    ),
    "micro": Preset(
        shape=Shape(width=256, heads=4, key_heads=2, layers=4, hidden=704, tied=True),
        tokeniser="bpe",
        vocabulary=4096,
        sequence=256,
        batch=16,
        flops_target=3e13,
        learning_rate=4e-3,
        warmup=0.1,
        eval_examples=128,
        eval_bytes=2048,
        eval_rows=32,
    ),
    "canary": Preset(
        shape=Shape(width=512, heads=4, key_heads=2, layers=7, hidden=1536, tied=True),
        tokeniser="bpe",
        vocabulary=16_384,
        sequence=2048,
        batch=128,
        flops_target=4.5e16,
        learning_rate=3e-3,
        warmup=0.1,
        eval_examples=512,
        eval_bytes=4096,
        eval_rows=32,
    ),
    "daily-125m": Preset(
        shape=Shape(width=1024, heads=8, key_heads=8, layers=10, hidden=2688, tied=False),
        tokeniser="bpe",
        vocabulary=32_768,
        sequence=4096,
        batch=128,
        flops_target=1e19,
        learning_rate=3e-3,
        warmup=0.1,
        eval_examples=1024,
        eval_bytes=16_384,
        eval_rows=16,
    ),
    "original-150m": Preset(
        shape=Shape(width=512, heads=8, key_heads=8, layers=6, hidden=1792, tied=False, rotary_base=500_000.0),
        tokeniser="tiktoken",
        vocabulary=128_256,
        sequence=4096,
        batch=512,
        flops_target=1e19,
        learning_rate=3e-3,
        warmup=0.194,
        eval_examples=1024,
        eval_bytes=16_384,
        eval_rows=16,
    ),
    "tiny": Preset(
        shape=Shape(width=16, heads=2, key_heads=1, layers=2, hidden=32, tied=True),
        tokeniser="bytes",
        vocabulary=257,
        sequence=32,
        batch=4,
        flops_target=1e9,
        learning_rate=1e-2,
        warmup=0.1,
        eval_examples=4,
        eval_bytes=64,
        eval_rows=4,
    ),
}
"""`nano` trains on two cores in under a minute, `micro` in some minutes; `canary` (30 million) and `daily-125m` (125
million besides the embeddings) are for accelerators; `original-150m` has the sizes of the ferry this program follows;
`tiny` is for trying things."""
