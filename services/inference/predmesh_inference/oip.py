"""ModelInfer messages of the Open Inference Protocol to and from arrays by name."""

from __future__ import annotations

import numpy as np
from predmesh_frame import FrameError
from predmesh_frame.oip import datatype_of, from_contents, from_raw, to_raw
from tritonclient.grpc import service_pb2 as pb

from predmesh_inference.domain import Array, Tensors


def to_request(model: str, tensors: Tensors) -> pb.ModelInferRequest:
    """A request with raw contents."""
    request = pb.ModelInferRequest(model_name=model)
    for name, array in tensors.items():
        request.inputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        request.raw_input_contents.append(to_raw(array))
    return request


def from_request(request: pb.ModelInferRequest) -> dict[str, Array]:
    """The arrays of a request with raw or typed contents.

    Raises:
        FrameError: an array is not what its shape and datatype say.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise FrameError("", f"there are {len(request.inputs)} inputs and {len(raw)} raw_input_contents")
    tensors: dict[str, Array] = {}
    for at, given in enumerate(request.inputs):
        if given.name in tensors:
            raise FrameError(given.name, f"input {given.name} is given twice")
        try:
            tensors[given.name] = (
                from_raw(given.datatype, given.shape, raw[at])
                if raw
                else from_contents(given.datatype, given.shape, given.contents)
            )
        except FrameError as error:
            raise FrameError(given.name, f"input {given.name} {error}") from None
    return tensors


def to_response(model: str, tensors: Tensors, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """A response with raw contents; only the outputs that *request* asks for, where it asks."""
    wanted = {output.name for output in request.outputs}
    response = pb.ModelInferResponse(model_name=model, model_version="1", id=request.id)
    for name, array in tensors.items():
        if not wanted or name in wanted:
            response.outputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
            response.raw_output_contents.append(to_raw(array))
    return response


def from_response(response: pb.ModelInferResponse) -> dict[str, Array]:
    """The arrays of a response with raw contents.

    Raises:
        FrameError: an array has fewer or more bytes than its shape takes, as corrupted ones have.
    """
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: np.asarray(from_raw(output.datatype, output.shape, raw)) for output, raw in pairs}
