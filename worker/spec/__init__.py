"""YAML text to settings, with the line and column of every mistake: the only home of YAML."""

from worker.spec.documents import Document, check, in_order, load, survey
from worker.spec.reference import reference
from worker.spec.schema import json_schema

__all__ = ["Document", "check", "in_order", "json_schema", "load", "reference", "survey"]
