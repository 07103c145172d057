"""YAML text to settings, with the line and column of every mistake: the only home of YAML."""

from worker.spec.documents import Document, check, in_order, load, survey
from worker.spec.reference import reference
from worker.spec.schema import json_schema
from worker.spec.writing import as_yaml

__all__ = ["Document", "as_yaml", "check", "in_order", "json_schema", "load", "reference", "survey"]
