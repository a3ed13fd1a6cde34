"""Columns of rows as numpy arrays, and their way over the wire; knows no service and no model."""

from predmesh_frame.columns import Column, DataType, FrameError
from predmesh_frame.frames import Frame, concat

__all__ = ["Column", "DataType", "Frame", "FrameError", "concat"]
