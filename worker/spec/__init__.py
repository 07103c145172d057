"""YAML text to settings, with the line and column of every mistake: the only home of YAML."""

from worker.spec.documents import (
    Document,
    Suite,
    check,
    in_order,
    load,
    load_tests,
    survey,
    survey_tests,
)
from worker.spec.reference import reference
from worker.spec.schema import json_schema
from worker.spec.writing import as_yaml

__all__ = [
    "Document",
    "Suite",
    "as_yaml",
    "check",
    "in_order",
    "json_schema",
    "load",
    "load_tests",
    "reference",
    "survey",
    "survey_tests",
]
