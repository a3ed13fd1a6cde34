"""What can go wrong with a model.

ModelError
├── LoadError    the bundle or the environment must change
├── InputError   the caller must change the tensors
└── RunError     the model's own code failed, or gave what its specification does not say
"""

from __future__ import annotations


class ModelError(Exception):
    """Something went wrong with a model; the text says what to do."""


class LoadError(ModelError):
    """The model cannot be loaded here."""


class InputError(ModelError):
    """The tensors are none the model takes."""


class RunError(ModelError):
    """The model failed on these tensors."""
