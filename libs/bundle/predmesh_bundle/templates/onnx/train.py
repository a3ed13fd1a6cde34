# /// script
# requires-python = "==3.11.*"
# dependencies = ["scikit-learn>=1.7,<1.10", "skl2onnx>=1.19", "onnx>=1.19"]
# ///
"""Trains the model of this bundle and exports it to ONNX: any tool that writes ONNX can stand here."""

from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

MODEL = Path(__file__).parent / "model.onnx"


def main() -> None:
    """Train, say how good it is, and export."""
    rows, species = load_iris(return_X_y=True)
    train_rows, test_rows, train_species, test_species = train_test_split(rows, species, random_state=0)
    model = RandomForestClassifier(n_estimators=50, random_state=0).fit(train_rows, train_species)
    print(f"accuracy on held-out rows: {model.score(test_rows, test_species):.3f}")
    # The names of tensors are those in predmesh.yaml; the first dimension is the rows, and stays open.
    graph = to_onnx(
        model,
        initial_types=[("features", FloatTensorType([None, 4]))],
        final_types=[("label", FloatTensorType()), ("probabilities", FloatTensorType())],
        options={"zipmap": False},
    )
    MODEL.write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    main()
