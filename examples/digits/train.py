"""Trains a small CNN on scikit-learn's 1,797 handwritten digits and writes its bundle; run by `make digits`."""

import shutil
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
BUNDLE = FOLDER / "build/bundle"
EPOCHS, BATCH_ROWS, SEED = 30, 64, 0
DARKEST = 16.0


class Reader(nn.Module):  # type: ignore[misc]
    """From images, (rows, 8, 8) of 0 to 16, to probabilities, (rows, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def scores(self, image: Tensor) -> Tensor:
        """One number a digit, before they are made to add up to 1."""
        scores: Tensor = self.layers(image.unsqueeze(1) / DARKEST)
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities."""
        return torch.softmax(self.scores(image), dim=1)


def main() -> float:
    """Writes the bundle; answers the accuracy on images held out."""
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    digits = load_digits()
    images, labels = torch.tensor(digits.images, dtype=torch.float32), torch.tensor(digits.target)
    known, held_out = train_test_split(range(len(labels)), test_size=0.25, random_state=SEED, stratify=labels)
    reader = trained(Reader(), images[known], labels[known]).eval()
    with torch.inference_mode():
        right = reader(images[held_out]).argmax(dim=1) == labels[held_out]
    save(reader, images[:2])
    return float(right.double().mean())


def trained(reader: Reader, images: Tensor, labels: Tensor) -> Reader:
    """The reader after EPOCHS looks at every image."""
    optimiser = torch.optim.Adam(reader.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH_ROWS):
            optimiser.zero_grad()
            nn.functional.cross_entropy(reader.scores(images[rows]), labels[rows]).backward()
            optimiser.step()
    return reader


def save(reader: Reader, example: Tensor) -> None:
    """Writes the bundle; the exported program takes any number of rows."""
    shutil.copytree(FOLDER / "bundle", BUNDLE, dirs_exist_ok=True)
    rows = {"image": {0: torch.export.Dim("rows", min=1)}}
    torch.export.save(torch.export.export(reader, (example,), dynamic_shapes=rows), BUNDLE / "model.pt2")


if __name__ == "__main__":
    print(f"accuracy on held-out digits {main():.3f}: {BUNDLE}")
