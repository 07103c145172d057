"""A pod of the chart, run here: its volumes are folders, its command line is a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helm.chart import Document, Rendered
from tests.system.rig import WorkerProcess

FIELDS = {
    "metadata.name": "my-stream-worker-0",
    "metadata.namespace": "default",
    "spec.nodeName": "here",
}
"""What a cluster would say of the pod."""


class Pod:
    """A pod's first container, with everything that it mounts below a folder.

    `pod` is the spec of another pod than the worker's.
    """

    def __init__(
        self, rendered: Rendered, folder: Path, port: int = 8080, pod: Document | None = None
    ) -> None:
        pod = pod or rendered.pod
        self._rendered = rendered
        self._container = pod["containers"][0]
        self._port = port
        self._mounts: dict[str, tuple[str, Path]] = {
            mount["name"]: (mount["mountPath"], folder / mount["mountPath"].lstrip("/"))
            for mount in self._container["volumeMounts"]
        }
        self.app = folder / "app"
        """Where the image looks for handlers."""
        for volume in pod["volumes"]:
            self._fill(volume)

    @property
    def spec(self) -> Path:
        """The file of the spec."""
        return self._mounts["spec"][1] / "spec.yaml"

    def fill(self, volume: str, **files: str) -> None:
        """Write the keys of a Secret that is there already, if the pod mounts it."""
        if volume in self._mounts:
            for name, text in files.items():
                (self._mounts[volume][1] / name).write_text(text)

    def worker(self, cwd: Path | None = None) -> WorkerProcess:
        """Start the container's command line, from `/app` or another folder."""
        self.app.mkdir(parents=True, exist_ok=True)
        log = self.app.with_name("worker.log")
        return WorkerProcess(self._command, self._port, log, self._environment(), cwd or self.app)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the container's command line to its end."""
        return subprocess.run(
            self._command,
            env={**os.environ, **self._environment()},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "worker", *map(self._here, self._container["args"])]

    def _environment(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for variable in self._container["env"]:
            if "value" in variable:
                found[variable["name"]] = re.sub(
                    r"\$\((\w+)\)", lambda name: found[name[1]], variable["value"]
                )
            else:
                found[variable["name"]] = FIELDS[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        return found

    def _here(self, text: str) -> str:
        """A text with the paths in it that are mounted."""
        folders = {path: str(folder) for path, folder in self._mounts.values()}
        paths = "|".join(map(re.escape, folders))
        return re.sub(rf"(?<![\w/])({paths})(?=/|$)", lambda path: folders[path[1]], text)

    def _fill(self, volume: dict[str, Any]) -> None:
        _, folder = self._mounts.get(volume["name"], ("", None))
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for kind, named, data in (
            ("ConfigMap", "name", "data"),
            ("Secret", "secretName", "stringData"),
        ):
            source = volume.get(kind[0].lower() + kind[1:], {})
            for document in self._rendered.all(kind):
                if document["metadata"]["name"] == source.get(named):
                    for name, text in document[data].items():
                        (folder / name).write_text(self._here(text))
