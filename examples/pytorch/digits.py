"""Train a small convolutional network on noisy pictures of digits that it draws itself: an ordinary PyTorch script.

It knows nothing of Pilothouse. It reads arguments, prints what it does, and leaves summary.json in its output folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn

GLYPHS = (
    "###|#.#|#.#|#.#|###",
    ".#.|##.|.#.|.#.|###",
    "###|..#|###|#..|###",
    "###|..#|###|..#|###",
    "#.#|#.#|###|..#|..#",
    "###|#..|###|..#|###",
    "###|#..|###|#.#|###",
    "###|..#|.#.|.#.|.#.",
    "###|#.#|###|#.#|###",
    "###|#.#|###|..#|###",
)
SIZE = 12


def pictures(count: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return float32 [count, 1, SIZE, SIZE] and the digits, int64 [count]: each at a place of its own, under noise."""
    rows = [[[float(cell == "#") for cell in row] for row in glyph.split("|")] for glyph in GLYPHS]
    glyphs = torch.tensor(rows).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    label = torch.randint(len(GLYPHS), (count,), generator=generator)
    picture = torch.zeros(count, 1, SIZE, SIZE)
    height, width = glyphs.shape[1:]
    down = torch.randint(SIZE - height + 1, (count,), generator=generator)
    right = torch.randint(SIZE - width + 1, (count,), generator=generator)
    for place in range(count):
        top, left = int(down[place]), int(right[place])
        picture[place, 0, top : top + height, left : left + width] = glyphs[label[place]]
    return picture + noise * torch.randn(picture.shape, generator=generator), label


def network(channels: int, dropout: float) -> nn.Sequential:
    """Return two convolutions and a linear head."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(2 * channels * 9, len(GLYPHS)),
    )


def optimiser(args: argparse.Namespace, model: nn.Module) -> torch.optim.Optimizer:
    """Return the chosen optimiser."""
    if args.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    return torch.optim.SGD(
        model.parameters(), lr=args.lr, weight_decay=args.weight_decay, momentum=0.9, nesterov=args.nesterov
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Tell noisy digits apart")
    parser.add_argument("--lr", type=float, default=0.02, help="learning rate")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=8, help="channels of the first convolution")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd")
    parser.add_argument("--nesterov", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train-pictures", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=0.3, help="standard deviation of the pictures' noise")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0, help="decides pictures, weights and the order of batches")
    parser.add_argument("--output-dir", type=Path, default=Path("results"))
    return parser.parse_args()


def main() -> None:
    """Train, measure on pictures that were not trained on, write the summary."""
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(args.seed)
    inputs, label = (each.to(args.device) for each in pictures(args.train_pictures, args.noise, generator))
    held_inputs, held_label = (each.to(args.device) for each in pictures(500, args.noise, generator))
    model = network(args.channels, args.dropout).to(args.device)
    train_loss = nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)
    chosen = optimiser(args, model)
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for batch in torch.randperm(len(label), generator=generator).split(args.batch_size):
            chosen.zero_grad()
            loss = train_loss(model(inputs[batch]), label[batch])
            loss.backward()
            chosen.step()
            total += float(loss.detach()) * len(batch)
        print(f"epoch {epoch}/{args.epochs} train loss {total / len(label):.4f}", flush=True)  # noqa: T201  its log

    model.eval()
    with torch.no_grad():
        scores = model(held_inputs)
    summary = {
        "val_loss": float(nn.functional.cross_entropy(scores, held_label)),
        "val_accuracy": float((scores.argmax(dim=1) == held_label).float().mean()),
        "parameters": sum(each.numel() for each in model.parameters()),
        "epochs": args.epochs,
    }
    args.output_dir.mkdir(parents=True, exist_ok=True)
    (args.output_dir / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
