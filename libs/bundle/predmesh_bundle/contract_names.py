"""Names in a model's own contract, made from those of its bundle; says what they are, not which may stand together."""

import re
import unicodedata

CONTRACT_MESSAGES = (
    "Inputs",
    "Outputs",
    "PredictRequest",
    "PredictResponse",
    "PredictBatchRequest",
    "PredictBatchResponse",
    "StreamPredictRequest",
    "StreamPredictResponse",
    "ExplainRequest",
    "ExplainResponse",
)
"""Messages of every contract."""

TEXT, DESCRIPTORS, OPENAPI, SCHEMA, REFERENCE = (
    "contract.proto",
    "contract.binpb",
    "openapi.json",
    "schema.json",
    "reference.html",
)
"""Files of every contract, where it is stored and where it is served."""

UNSPECIFIED = "UNSPECIFIED"
"""Word of the value 0 of every enum."""

_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])")
_NO_WORD = re.compile(r"[^A-Z0-9]+")


def package_name(model: str, version: str) -> str:
    """Package of the contract: `flight-delay`, `1` → `predmesh.models.flight_delay.v1`."""
    return f"predmesh.models.{model.replace('-', '_')}.v{version}"


def service_name(model: str) -> str:
    """Name of the service: `flight-delay` → `FlightDelayService`."""
    return f"{_pascal(model.replace('-', '_'))}Service"


def file_name(model: str, version: str) -> str:
    """Path of the file: `predmesh/models/flight_delay/v1/flight_delay_service.proto`."""
    return f"{package_name(model, version).replace('.', '/')}/{model.replace('-', '_')}_service.proto"


def enum_name(field: str) -> str:
    """Name of the enum of an input or output: `late_reason` → `LateReason`."""
    return _pascal(field)


def value_name(field: str, text: str) -> str:
    """Name of the enum value of a category or label: `carrier`, `9E` → `CARRIER_9E`."""
    return f"{_WORD_START.sub('_', enum_name(field)).upper()}_{value_word(text)}"


def value_word(text: str) -> str:
    """*text* in capitals; accents are dropped, and each run of what is no Latin letter or digit is one `_`."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return _NO_WORD.sub("_", plain.upper()).strip("_")


def alike(word: str) -> str:
    """What protoc compares of enum values: two of one form may not stand in one enum."""
    return "".join(part[:1] + part[1:].lower() for part in word.split("_"))


def camel(field: str) -> str:
    """The name that protobuf's JSON gives a field: `late_reason` → `lateReason`."""
    first, *rest = field.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
