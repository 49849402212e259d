"""Train a small network to tell two noisy spirals apart: one second, numpy only, and a different result for every seed.

The seed decides everything that may vary: the points, the split, the first weights, the order of the batches.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pilothouse import trainer

Floats = NDArray[np.float64]

POINTS = 400
TURNS = 1.5
NOISE = 0.08


def spirals(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return points float64 [POINTS, 2] and their spiral, 0 or 1, float64 [POINTS]."""
    label = (np.arange(POINTS) % 2).astype(np.float64)
    along = np.sqrt(rng.random(POINTS))
    angle = 2 * math.pi * TURNS * along + math.pi * label
    points = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + NOISE * rng.standard_normal((POINTS, 2)), label


class Network:
    """One hidden layer of tanh units, trained by gradient descent with momentum on the logistic loss."""

    def __init__(self, rng: np.random.Generator, hidden: int, *, spread: float) -> None:
        """Draw the first weights; `spread` scales the hidden layer's, so it decides how sharply a unit may bend."""
        self.weights = [spread * rng.standard_normal((3, hidden)), rng.standard_normal((hidden + 1, 1)) / hidden**0.5]
        self.speed = [np.zeros_like(each) for each in self.weights]

    def scores(self, points: Floats) -> Floats:
        """Return the log-odds of the second spiral, float64 [n]."""
        return self._forward(points)[2][:, 0]

    def step(self, points: Floats, label: Floats, *, rate: float, momentum: float, decay: float) -> None:
        """Move the weights once down the gradient of the batch."""
        inputs, hidden, score = self._forward(points)
        error = (1 / (1 + np.exp(-np.clip(score[:, 0], -50, 50))) - label)[:, None] / len(label)
        behind = (error @ self.weights[1][:-1].T) * (1 - hidden[:, :-1] ** 2)
        for index, gradient in enumerate((inputs.T @ behind, hidden.T @ error)):
            self.speed[index] = momentum * self.speed[index] - rate * (gradient + decay * self.weights[index])
            self.weights[index] = self.weights[index] + self.speed[index]

    def _forward(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        inputs = np.append(points, np.ones((len(points), 1)), axis=1)
        hidden = np.append(np.tanh(inputs @ self.weights[0]), np.ones((len(points), 1)), axis=1)
        return inputs, hidden, hidden @ self.weights[1]


def loss_of(score: Floats, label: Floats) -> float:
    """Return the mean logistic loss."""
    return float(np.logaddexp(0.0, np.where(label > 0.5, -score, score)).mean())


def main() -> None:
    """Train as the config says, report the loss on points that were not trained on."""
    with trainer.start() as run:
        number = {name: float(str(value)) for name, value in run.config.items()}
        rng = np.random.default_rng(run.seed)
        points, label = spirals(rng)
        train, held = np.arange(POINTS) < POINTS // 2, np.arange(POINTS) >= POINTS // 2
        network = Network(rng, int(number["hidden"]), spread=number["spread"])
        epochs, batch = int(number["epochs"]), int(number["batch_size"])
        for epoch in range(1, epochs + 1):
            order = rng.permutation(np.flatnonzero(train))
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                network.step(
                    points[chosen],
                    label[chosen],
                    rate=number["learning_rate"],
                    momentum=number["momentum"],
                    decay=number["weight_decay"],
                )
            if epoch % max(1, epochs // 10) == 0:
                run.log(epoch, total=epochs, val_loss=loss_of(network.scores(points[held]), label[held]))
        score = network.scores(points[held])
        accuracy = float(((score > 0) == (label[held] > 0.5)).mean())
        run.finish({"val_loss": loss_of(score, label[held]), "accuracy": accuracy})


if __name__ == "__main__":
    main()
