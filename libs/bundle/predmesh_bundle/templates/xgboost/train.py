# /// script
# requires-python = "==3.11.*"
# dependencies = ["xgboost-cpu==3.2.0", "scikit-learn>=1.7,<1.10"]
# ///
"""Trains the model of this bundle: put your own data and trees here."""

from pathlib import Path

import xgboost
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

MODEL = Path(__file__).parent / "model.ubj"
COLUMNS = ["age", "bmi", "blood_pressure", "cholesterol", "glucose"]
POSITIONS = [0, 2, 3, 4, 9]
"""Where these columns are in the data of scikit-learn."""


def main() -> None:
    """Train, say how good it is, and save."""
    rows, progression = load_diabetes(return_X_y=True, scaled=False)
    train_rows, test_rows, train_target, test_target = train_test_split(rows[:, POSITIONS], progression, random_state=0)
    model = xgboost.train(
        {"objective": "reg:squarederror", "max_depth": 3, "eta": 0.1, "seed": 0},
        xgboost.DMatrix(train_rows, train_target, feature_names=COLUMNS),
        num_boost_round=60,
    )
    error = model.predict(xgboost.DMatrix(test_rows, feature_names=COLUMNS)) - test_target
    print(f"mean absolute error on held-out rows: {abs(error).mean():.1f}")
    # Predmesh sends columns in the order of predmesh.yaml, without names.
    model.feature_names = None
    model.save_model(MODEL)


if __name__ == "__main__":
    main()
