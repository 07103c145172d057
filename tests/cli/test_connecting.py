"""The cluster that a command is for."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.cli.rig import SPEC, shop
from worker.cli.connecting import Target, cluster_options
from worker.cli.options import SETTINGS
from worker.errors import BadConfiguration


@click.command(context_settings=SETTINGS)
@cluster_options
def command(target: Target) -> None:
    kafka = target.kafka
    click.echo(
        json.dumps(
            {
                "brokers": list(kafka.brokers),
                "spec": target.spec.name,
                "protocol": kafka.security.protocol,
                "password": kafka.security.password and kafka.security.password.get_secret_value(),
            }
        )
    )


def called(*arguments: str | Path, **variables: str) -> dict[str, object]:
    done = CliRunner().invoke(
        command, [str(one) for one in arguments], env=variables, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def refused(*arguments: str | Path, given: str | None = None, **variables: str) -> str:
    done = CliRunner().invoke(
        command, [str(one) for one in arguments], env=variables, input=given, catch_exceptions=False
    )
    assert done.exit_code == 2
    return " ".join(done.stderr.split())


def test_it_is_that_of_the_spec(tmp_path: Path) -> None:
    found = called("--spec", shop(tmp_path))

    assert (found["brokers"], found["spec"]) == (["nowhere.invalid:1"], "shop")


def test_brokers_may_be_named_in_place_of_a_spec() -> None:
    found = called("--brokers", "one:9092,two:9092")

    assert (found["brokers"], found["spec"]) == (["one:9092", "two:9092"], "")


def test_a_password_comes_from_a_file_or_standard_input_and_not_from_the_command_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    security = ("--protocol", "sasl_ssl", "--mechanism", "scram-sha-512", "--username", "flights")

    found = called("--brokers", "one:9092", *security, "--password-file", file)

    assert (found["protocol"], found["password"]) == ("SASL_SSL", "s3cret")
    done = CliRunner().invoke(
        command, ["--brokers", "one:9092", *security, "--password-file", "-"], input="other\n"
    )
    assert json.loads(done.stdout)["password"] == "other"


def test_variables_say_it_where_the_command_line_does_not(tmp_path: Path) -> None:
    spec = shop(tmp_path)

    assert called(WORKER_BROKERS="one:9092")["brokers"] == ["one:9092"]
    assert called(WORKER_SPEC=str(spec))["spec"] == "shop"
    assert called("--brokers", "one:9092", WORKER_SPEC=str(spec))["spec"] == ""
    assert called("--spec", spec, WORKER_BROKERS="one:9092")["spec"] == "shop"
    assert called("--brokers", "one:9092", WORKER_SPEC="gone.yaml")["spec"] == ""


def test_what_a_client_refuses_is_told_with_its_place_in_the_spec(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")
    security = f'"nowhere.invalid:1", security: {{protocol: SSL, ca: "{ca}"}}'
    file = shop(tmp_path, SPEC.replace('"nowhere.invalid:1"', security))

    with pytest.raises(BadConfiguration, match=r"shop\.yaml:3:\d+: kafka\.security\.ca: no client"):
        called("--spec", file)


def test_the_file_of_a_spec_has_to_be_there() -> None:
    assert "'--spec'" in refused("--spec", "gone.yaml")
    assert "File 'gone.yaml' does not exist" in refused(WORKER_SPEC="gone.yaml")


def test_nothing_and_both_are_told_with_what_is_legal(tmp_path: Path) -> None:
    spec = shop(tmp_path)

    assert "give --spec FILE or --brokers HOST:PORT,..." in refused()
    assert "not both" in refused("--spec", spec, "--brokers", "one:9092")
    both = refused(WORKER_SPEC=str(spec), WORKER_BROKERS="one:9092")
    assert "give WORKER_SPEC or WORKER_BROKERS, not both" in both


def test_settings_that_do_not_go_together_are_told_in_words_of_the_options(tmp_path: Path) -> None:
    spec = shop(tmp_path)

    assert "--brokers: " in refused("--brokers", "one:port")
    assert "SASL_SSL needs mechanism" in refused("--brokers", "one:1", "--protocol", "SASL_SSL")
    assert "--skip-verify needs --brokers" in refused("--spec", spec, "--skip-verify")


def test_what_is_wrong_with_a_spec_is_told_with_its_place(tmp_path: Path) -> None:
    spec = shop(tmp_path, SPEC.replace("version: 1", "version: 9"))

    with pytest.raises(BadConfiguration, match=r"shop\.yaml:1:1: version"):
        called("--spec", spec)
