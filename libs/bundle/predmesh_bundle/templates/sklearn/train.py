# /// script
# requires-python = "==3.11.*"
# dependencies = ["scikit-learn>=1.7,<1.10", "skops>=0.13"]
# ///
"""Trains the model of this bundle: put your own data and estimator here."""

from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io import dump

MODEL = Path(__file__).parent / "model.skops"


def main() -> None:
    """Train, say how good it is, and save."""
    rows, species = load_iris(return_X_y=True)
    train_rows, test_rows, train_species, test_species = train_test_split(rows, species, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train_rows, train_species)
    print(f"accuracy on held-out rows: {model.score(test_rows, test_species):.3f}")
    dump(model, MODEL)


if __name__ == "__main__":
    main()
