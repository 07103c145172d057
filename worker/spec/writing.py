"""Values as YAML text."""

from __future__ import annotations

import json
from typing import Any

import yaml

from worker.spec.scalars import core


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts that YAML 1.2 would read as something else are quoted, as YAML 1.1's are anyway."""
    style = None if core(text) == text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def as_yaml(value: Any) -> str:
    """What `json.dumps` would write, as one YAML document in ASCII that begins with `---`."""
    plain = json.loads(json.dumps(value))
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, explicit_start=True).rstrip("\n")
