"""A feature view and a service of each type that this release of Feast has, called after its value type."""

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType, types

FEATURES = 10
LENGTH = 4
SINGLE = [
    *("Bool", "Int32", "Int64", "Float32", "Float64", "String", "Bytes", "UnixTimestamp", "PdfBytes", "ImageBytes"),
    *("Json", "Uuid", "TimeUuid", "Decimal", "Map", "ScalarMap", "ZonedTimestamp"),
]

source = FileSource(name="nothing", path="nothing.parquet", timestamp_field="event_timestamp")
row = Entity(name="row", value_type=ValueType.INT64)


def _types():
    singles = [getattr(types, name) for name in SINGLE if hasattr(types, name)]
    yield from singles
    wraps = [getattr(types, name) for name in ("Array", "Set") if hasattr(types, name)]
    if hasattr(types, "Struct"):
        singles.append(types.Struct({"text": types.String, "number": types.Int64}))
        yield singles[-1]
    for wrap in wraps:
        for inner in [*singles, wrap(types.Float64)]:
            try:
                dtype = wrap(inner)
                dtype.to_value_type()
            except (ValueError, KeyError):  # This release has no such list or set.
                continue
            yield dtype


def _view(name, dtype):
    # Half of the lists are of one length, so that they can be columns.
    lengths = [LENGTH if name.endswith("_list") and feature % 2 else 0 for feature in range(FEATURES)]
    fields = [
        Field(name=f"f{feature}", dtype=dtype, vector_length=length)
        if length
        else Field(name=f"f{feature}", dtype=dtype)
        for feature, length in enumerate(lengths)
    ]
    return FeatureView(name=f"of_{name}", entities=[row], source=source, schema=fields)


for _dtype in _types():
    _name = _dtype.to_value_type().name.lower()
    globals()[f"of_{_name}"] = _view(_name, _dtype)
    globals()[_name] = FeatureService(name=_name, features=[globals()[f"of_{_name}"]])
