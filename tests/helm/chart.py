"""The chart as Helm renders it: documents, refusals, and what to look at in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final

import yaml

from tests.helm.tools import Helm

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "helm" / "stream-worker"
CASES: Final = sorted(
    file.name.removesuffix("-values.yaml") for file in (CHART / "ci").glob("*-values.yaml")
)
OLDEST, NEWEST = "1.29", "1.37"
"""Kubernetes as the chart claims it, and as the validator knows it."""
PODS: Final = ("Deployment", "StatefulSet", "Job", "Pod")

Document = dict[str, Any]
Values = Mapping[str, Any]


def file_of(case: str) -> Path:
    return CHART / "ci" / f"{case}-values.yaml"


def values_of(case: str) -> dict[str, Any]:
    """The values of a case alone."""
    loaded: dict[str, Any] = yaml.safe_load(file_of(case).read_text())
    return loaded


def arguments(values: Values) -> list[str]:
    """Options of Helm that give values by their paths, such as `keda.enabled`."""
    return [
        word
        for key, value in values.items()
        for word in ("--set-json", f"{key}={json.dumps(value)}")
    ]


@dataclass
class Rendered:
    """The documents of one rendering."""

    documents: Sequence[Document]

    def all(self, *kinds: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] in kinds]

    def one(self, *kinds: str) -> Document:
        (document,) = self.all(*kinds)
        return document

    @cached_property
    def workload(self) -> Document:
        return self.one("Deployment", "StatefulSet")

    @cached_property
    def pod(self) -> Document:
        """The spec of the worker's pods."""
        pod: Document = self.workload["spec"]["template"]["spec"]
        return pod

    @cached_property
    def container(self) -> Document:
        (container,) = (one for one in self.pod["containers"] if one["name"] == "worker")
        return dict(container)

    @property
    def env(self) -> dict[str, Document]:
        return {one["name"]: one for one in self.container["env"]}

    @cached_property
    def config(self) -> dict[str, str]:
        """The data of all ConfigMaps that the worker mounts."""
        mounted = {
            volume["configMap"]["name"] for volume in self.pod["volumes"] if "configMap" in volume
        }
        found: dict[str, str] = {}
        for document in self.all("ConfigMap"):
            if document["metadata"]["name"] in mounted:
                found |= document["data"]
        return found


def pods(document: Document) -> Iterator[Document]:
    """The specs of pods in a document."""
    if document["kind"] == "Pod":
        yield document["spec"]
    elif document["kind"] in PODS:
        yield document["spec"]["template"]["spec"]


@dataclass(repr=False)
class Chart:
    """The chart, with both versions of Helm; each rendering is made once."""

    helms: Mapping[int, Helm]
    _rendered: dict[tuple[str, ...], Rendered] = field(default_factory=dict)

    def template(
        self,
        case: str,
        values: Values | None = None,
        *more: str,
        major: int = 4,
        release: str = "my",
    ) -> CompletedProcess[str]:
        """Run `helm template` with the values of a case and others."""
        given = [*more, *arguments(values or {})]
        return self.helms[major].run("template", release, CHART, "--values", file_of(case), *given)

    def render(
        self,
        case: str,
        values: Values | None = None,
        *more: str,
        major: int = 4,
        release: str = "my",
    ) -> Rendered:
        """The documents of a case; `values` are by their paths, such as `keda.enabled`."""
        key = (case, json.dumps(values), *more, str(major), release)
        if key not in self._rendered:
            done = self.template(case, values, *more, major=major, release=release)
            assert done.returncode == 0, done.stderr
            assert "WARNING" not in done.stderr.upper(), done.stderr
            loaded = yaml.load_all(done.stdout, yaml.CSafeLoader)
            self._rendered[key] = Rendered([document for document in loaded if document])
        return self._rendered[key]

    def refusal(self, case: str, values: Values) -> str:
        """Why values are refused."""
        done = self.template(case, values)
        assert done.returncode != 0, done.stdout
        return done.stderr
