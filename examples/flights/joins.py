"""Point-in-time joins: what the online store would have answered at each row's time.

The rules are those of Feast and of the mesh's reader: a row counts when `event_timestamp <= time`, the newest one wins,
and one older than its view's TTL (`time - event_timestamp > ttl`) counts as missing, as if the entity were unknown.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import polars as pl
from predmesh_bundle.read_plan import ViewPlan

_ROW = "point_in_time_row"
_EVENT = "point_in_time_event"


def point_in_time_join(
    rows: pl.DataFrame, tables: Mapping[str, pl.DataFrame], views: Sequence[ViewPlan], *, time: str
) -> pl.DataFrame:
    """Adds the features of every view as of each row's time; no row is dropped, doubled or moved.

    Args:
        rows: with the join keys (null: unknown) and a UTC column *time*.
        tables: by view name; join keys, `event_timestamp` and features.
        views: which features to add.
        time: column of *rows* to judge by.

    Returns:
        *rows* with a column a feature; a missing value is the feature's default, or null.
    """
    joined = rows.with_row_index(_ROW).sort(time, maintain_order=True)
    for view in views:
        joined = _join_one(joined, tables[view.name], view, time)
    joined = joined.sort(_ROW).drop(_ROW)
    if joined.height != rows.height:
        raise AssertionError(f"the joins turned {rows.height} rows into {joined.height}")
    return joined


def _join_one(rows: pl.DataFrame, table: pl.DataFrame, view: ViewPlan, time: str) -> pl.DataFrame:
    keys = [key.column for key in view.join_keys]
    features = [feature.name for feature in view.features]
    newest = table.select(*keys, pl.col("event_timestamp").alias(_EVENT), *features).sort(_EVENT)
    joined = rows.join_asof(
        newest,
        left_on=time,
        right_on=_EVENT,
        by=keys,
        strategy="backward",
        coalesce=False,
        check_sortedness=False,  # polars cannot check within groups; both sides are sorted above
    )
    if view.ttl_seconds is not None:
        young = (pl.col(time) - pl.col(_EVENT)) <= timedelta(seconds=view.ttl_seconds)
        joined = joined.with_columns(pl.when(young).then(pl.col(features)).name.keep())
    defaults = {feature.name: feature.default for feature in view.features if feature.default is not None}
    return joined.with_columns(pl.col(name).fill_null(pl.lit(value)) for name, value in defaults.items()).drop(_EVENT)
