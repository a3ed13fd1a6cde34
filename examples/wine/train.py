"""Trains the wine model and writes its bundle: `python examples/wine/train.py`, a second or two."""

import shutil
from pathlib import Path

from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dump

FOLDER = Path(__file__).resolve().parent
BUNDLE = FOLDER / "build/bundle"


def main(bundle: Path = BUNDLE) -> float:
    """Writes the bundle into a folder; answers the accuracy on wines held out."""
    rows, grapes = load_wine(return_X_y=True)
    train_rows, test_rows, train_grapes, test_grapes = train_test_split(
        rows, grapes, test_size=0.25, random_state=0, stratify=grapes
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train_rows, train_grapes)
    shutil.copytree(FOLDER / "bundle", bundle, dirs_exist_ok=True)
    dump(model, bundle / "model.skops")
    return float(model.score(test_rows, test_grapes))


if __name__ == "__main__":
    print(f"accuracy on held-out wines {main():.3f}: {BUNDLE}")
