"""The lanes that a pipeline asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from worker.app.checks import HEADER
from worker.engine.lanekeys import ByFunction, ByHeader, ByRetryLane
from worker.flow.lanes import LANES, ByKey, KeyLanes, LaneKeys, Lanes, PacedLanes
from worker.flow.rate import LaneRates
from worker.handlers import Registry
from worker.settings import Pipeline


def lanes_of(pipeline: Pipeline, registry: Registry) -> Callable[[], Lanes]:
    """What makes the lanes of a partition; a rate of a lane holds in all partitions."""
    if pipeline.ordering != "key":
        return LANES[pipeline.ordering]
    keys = _keys_of(pipeline.lane, registry)
    limit = pipeline.rate_limit
    if limit is None or limit.lane is None:
        return lambda: KeyLanes(keys())
    rates = LaneRates(limit.lane)
    return lambda: PacedLanes(keys(), rates)


def tier_lanes_of(pipeline: Pipeline, registry: Registry) -> Callable[[], Lanes]:
    """The same for partitions of retry topics, whose records say in what lane they were."""
    if pipeline.keeps_order:
        return lambda: KeyLanes(ByRetryLane())
    return lanes_of(pipeline, registry)


def _keys_of(lane: str, registry: Registry) -> Callable[[], LaneKeys]:
    if lane == "key":
        return ByKey
    if lane.startswith(HEADER):
        return partial(ByHeader, lane.removeprefix(HEADER))
    return partial(ByFunction, registry.lanes[lane])
