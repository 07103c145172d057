"""YAML text to settings, with the line and column of every mistake: the only home of YAML."""

from worker.spec.documents import Document, check, load
from worker.spec.reference import reference
from worker.spec.schema import json_schema

__all__ = ["Document", "check", "json_schema", "load", "reference"]
