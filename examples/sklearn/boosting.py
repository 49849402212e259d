"""Boost trees on scikit-learn's handwritten digits: seconds, with the kit, one row per held-out picture.

The seed decides the split and the trees. A fifth of the pictures is held out from everything.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

from pilothouse import trainer


def main() -> None:
    """Train in the run folder, report the loss on pictures that were not trained on."""
    with trainer.start() as run:
        number = {name: float(str(value)) for name, value in run.config.items()}
        data = load_digits()
        example = np.arange(len(data.target))
        train, held = train_test_split(example, test_size=0.2, random_state=run.seed, stratify=data.target)
        # A part of the training pictures keeps the runs short; the held-out fifth is whole.
        train = train[: int(number["pictures"])]
        model = HistGradientBoostingClassifier(
            learning_rate=number["learning_rate"],
            max_iter=int(number["trees"]),
            max_leaf_nodes=int(number["leaves"]),
            min_samples_leaf=int(number["least_per_leaf"]),
            l2_regularization=number["l2"],
            max_features=number["features"],
            early_stopping=False,
            random_state=run.seed,
        )
        model.fit(data.data[train], data.target[train])
        chances = model.predict_proba(data.data[held])
        loss = -np.log(np.clip(chances[np.arange(len(held)), data.target[held]], 1e-12, None))
        right = chances.argmax(axis=1) == data.target[held]
        run.log(1, total=1, val_loss=float(loss.mean()))
        run.finish(
            {"val_loss": float(loss.mean()), "accuracy": float(right.mean())},
            samples={"example": held, "digit": data.target[held], "loss": loss},
        )


if __name__ == "__main__":
    main()
