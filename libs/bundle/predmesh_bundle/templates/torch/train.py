# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch>=2.7", "scikit-learn>=1.7,<1.10"]
# ///
"""Trains the model of this bundle and exports it with torch.export: put your own data and module here."""

from pathlib import Path

import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

MODEL = Path(__file__).parent / "model.pt2"


def main() -> None:
    """Train, say how good it is, and export."""
    torch.manual_seed(0)
    parts = train_test_split(*load_iris(return_X_y=True), random_state=0)
    train_rows, test_rows = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    train_species, test_species = (torch.tensor(part) for part in parts[2:])
    layer = torch.nn
    scores = layer.Sequential(layer.BatchNorm1d(4), layer.Linear(4, 16), layer.ReLU(), layer.Linear(16, 3))
    optimizer = torch.optim.Adam(scores.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(scores(train_rows), train_species).backward()
        optimizer.step()
    network = layer.Sequential(scores, layer.Softmax(dim=1)).eval()
    right = network(test_rows).argmax(dim=1) == test_species
    print(f"accuracy on held-out rows: {right.float().mean():.3f}")
    # The first dimension is the rows, and stays open.
    rows = torch.export.Dim("rows", min=1, max=10_000)
    program = torch.export.export(network, (test_rows,), dynamic_shapes=({0: rows},))
    torch.export.save(program, MODEL)


if __name__ == "__main__":
    main()
