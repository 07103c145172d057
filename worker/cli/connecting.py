"""The cluster that a command is for: that of a spec, or brokers named on the command line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from worker.cli.opening import opened
from worker.cli.options import is_said
from worker.errors import TopicNotFound
from worker.kafka.admin import KafkaAdmin
from worker.kafka.client import Kafka
from worker.operate.missing import not_there
from worker.settings import KafkaSettings, Spec
from worker.spec import Document

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_TEXT: Final = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)

STANDARD_INPUT: Final = Path("-")
SECURITY: Final = {
    "protocol": "--protocol",
    "mechanism": "--mechanism",
    "username": "--username",
    "password": "--password-file",
    "ca": "--ca",
    "certificate": "--certificate",
    "key": "--certificate-key",
    "skip_verify": "--skip-verify",
}
"""Keys of `kafka.security` and the options that stand for them."""


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster that a command is for."""

    spec: Spec
    """The spec that names it; one of nothing where the brokers were given."""

    @property
    def kafka(self) -> KafkaSettings:
        """How to connect to it."""
        return self.spec.kafka


_OPTIONS: Final = (
    click.option(
        "--spec",
        type=click.Path(path_type=Path),
        is_eager=True,
        show_envvar=True,
        metavar="FILE",
        help="The spec that names the cluster.",
    ),
    click.option(
        "--brokers",
        show_envvar=True,
        metavar="HOST:PORT,...",
        help="The cluster's brokers, in place of a spec.",
    ),
    click.option(
        "--protocol",
        type=click.Choice(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], case_sensitive=False),
        default="PLAINTEXT",
        show_envvar=True,
        help="Protocol to these brokers.",
    ),
    click.option(
        "--mechanism",
        type=click.Choice(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], case_sensitive=False),
        show_envvar=True,
        help="SASL mechanism; for OAUTHBEARER give a spec.",
    ),
    click.option("--username", show_envvar=True, help="SASL user."),
    click.option(
        "--password-file",
        type=_TEXT,
        show_envvar=True,
        metavar="FILE",
        help="File with the SASL password; - is standard input.",
    ),
    click.option(
        "--ca", type=_FILE, show_envvar=True, metavar="FILE", help="Certificates (PEM) to trust."
    ),
    click.option(
        "--certificate",
        type=_FILE,
        show_envvar=True,
        metavar="FILE",
        help="The client's certificate (PEM).",
    ),
    click.option(
        "--certificate-key",
        type=_FILE,
        show_envvar=True,
        metavar="FILE",
        help="Private key (PEM) of that certificate.",
    ),
    click.option(
        "--skip-verify", is_flag=True, show_envvar=True, help="Do not check who the brokers are."
    ),
)


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--spec, or --brokers and how to connect to them; the command is given a `Target`."""

    @functools.wraps(function)
    def connecting(*, spec: Path | None, brokers: str | None, **others: Any) -> Any:
        security = {key: others.pop(_parameter(option)) for key, option in SECURITY.items()}
        return function(target=_target(spec, brokers, security), **others)

    for option in reversed(_OPTIONS):
        connecting = option(connecting)
    return connecting


MAKE_IT: Final = "`worker topics create` makes it"


def require_topics(
    kafka: Kafka, topics: Sequence[str], *, otherwise: str = MAKE_IT
) -> dict[str, list[int]]:
    """The numbers of the partitions of topics; raises `TopicNotFound` for those that are gone."""
    found, gone = {}, []
    for topic in topics:
        try:
            found[topic] = kafka.partitions(topic)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        except TopicNotFound:
            gone.append(topic)
    if gone:
        raise not_there(gone, kafka.list_topics(), otherwise)
    return found


def _target(spec: Path | None, brokers: str | None, security: dict[str, Any]) -> Target:
    if spec is not None and brokers is not None:
        spec, brokers = _chosen(spec, brokers)
    if brokers is not None:
        return Target(Spec.of_cluster(_settings(brokers, security)))
    if spec is None:
        raise click.UsageError("say which cluster: give --spec FILE or --brokers HOST:PORT,...")
    _refuse_security()
    _require_file(spec)
    return opened(spec, _of_spec)


def _of_spec(document: Document) -> Target:
    """The cluster of a spec, once a client was made: what that refuses is a mistake of the spec."""
    KafkaAdmin(document.spec.kafka)
    return Target(document.spec)


def _chosen(spec: Path, brokers: str) -> tuple[Path | None, str | None]:
    """The one of both that the command line names; a variable is for when it names none."""
    said = {name for name in ("spec", "brokers") if is_said(name)}
    if len(said) != 1:
        both = "--spec or --brokers" if said else "WORKER_SPEC or WORKER_BROKERS"
        raise click.UsageError(f"give {both}, not both")
    return (spec, None) if "spec" in said else (None, brokers)


def _require_file(spec: Path) -> None:
    """Look for the file only here: that of a variable need not be there beside --brokers."""
    context = click.get_current_context()
    option = next(one for one in context.command.params if one.name == "spec")
    _FILE.convert(str(spec), option, context)


def _refuse_security() -> None:
    """Options that a spec's own settings would silently outdo are a mistake."""
    said = [option for option in SECURITY.values() if is_said(_parameter(option))]
    if said:
        listed = ", ".join(said)
        raise click.UsageError(f"{listed} needs --brokers; a spec says itself how to connect")


def _settings(brokers: str, security: dict[str, Any]) -> KafkaSettings:
    path: Path | None = security["password"]
    if path is not None:
        _refuse_one_input_for_both(path)
        with click.open_file(str(path)) as file:
            security["password"] = file.read().rstrip("\r\n")
    given = {key: str(one) if isinstance(one, Path) else one for key, one in security.items()}
    try:
        return KafkaSettings.model_validate({"brokers": brokers, "security": given})
    except ValidationError as error:
        raise click.UsageError("; ".join(map(_told, error.errors()))) from None


def _refuse_one_input_for_both(password: Path) -> None:
    """Whoever read standard input first would leave nothing of it to the other."""
    if password == STANDARD_INPUT == click.get_current_context().params.get("file"):
        raise click.UsageError("standard input cannot be the password and the lines: give a FILE")


def _told(error: Any) -> str:
    """A mistake in the words of the options."""
    text = error["msg"].removeprefix("Value error, ")
    place = error["loc"][:1] if error["loc"][:1] == ("brokers",) else error["loc"][1:2]
    option = "--brokers" if place == ("brokers",) else SECURITY.get(str(*place), "")
    return f"{option}: {text}" if option else text


def _parameter(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
