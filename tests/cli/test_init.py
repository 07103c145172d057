"""`worker init`: a project that works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.operate.project import project

Run = subprocess.CompletedProcess[str]


def run(folder: Path, *command: str | Path, **variables: str) -> Run:
    """Run a Python module as a user does, with nothing of this repository in its path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WORKER_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=folder,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    done = run(folder, "worker", "init", "order-greetings")
    assert done.returncode == 0, done.stderr
    return folder / "order-greetings"


def test_what_is_written_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "worker", "init", "there", "--name", "shop")

    files = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()}
    assert set(done.stdout.split()) == files
    assert {"there/config/shop.yaml", "there/handlers/shop.py", "there/values.yaml"} < files
    assert "there/README.md" in done.stderr


def test_its_spec_is_valid(made: Path) -> None:
    done = run(made, "worker", "validate", "config/order-greetings.yaml")

    assert (done.returncode, done.stdout) == (0, "config/order-greetings.yaml: ok\n"), done.stderr


def test_the_tests_of_its_spec_pass(made: Path) -> None:
    done = run(made, "worker", "test")

    assert done.returncode == 0, done.stdout
    assert "\n5 passed in " in done.stdout


@pytest.mark.kafka
def test_its_own_tests_pass(made: Path, kafka_address: str) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:cloudcoil"]
    done = run(made, "pytest", *options, KAFKA_BROKERS=kafka_address)

    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


def test_no_promise_is_broken_by_the_simulator_in_its_spec(made: Path) -> None:
    spec = made / "config" / "order-greetings.yaml"
    done = run(made, "worker", "simulate", spec, "--seeds", "4", "--messages", "100")

    assert done.returncode == 0, done.stdout
    assert "no promise broken" in done.stdout


def test_its_example_runs_on_the_embedded_broker(made: Path) -> None:
    spec, feed = made / "config" / "order-greetings.yaml", "order-greetings.in=data/visitors.jsonl"
    quiet = spec.with_name("quiet.yaml")
    quiet.write_text(f"{spec.read_text()}\nserver: {{port: 0}}\n")

    done = run(made, "worker", "dev", quiet, "--feed", feed)

    assert done.returncode == 0, done.stderr
    assert re.search(r"greet\b.*\b4\b", done.stdout), done.stdout


def test_its_code_is_in_good_form(made: Path) -> None:
    for check in (("format", "--check"), ("check", "--select", "E,F,I,UP,B,SIM")):
        done = run(made, "ruff", *check, "--isolated", "--line-length", "100", ".")
        assert done.returncode == 0, done.stdout


def test_no_mark_of_a_template_is_left() -> None:
    for path, text in project("order-greetings").items():
        assert not re.search(r"@\w+@", path + text), path


def test_every_file_that_the_image_copies_is_let_through(made: Path) -> None:
    copied = re.findall(r"^COPY (\S+)/ ", (made / "Dockerfile").read_text(), re.MULTILINE)

    assert copied == ["handlers", "config"]
    assert {f"!{one}" for one in copied} <= {*(made / ".dockerignore").read_text().splitlines()}
    assert 'CMD ["run", "config/order-greetings.yaml"]' in (made / "Dockerfile").read_text()


def test_nothing_is_overwritten_and_nothing_written_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    (folder / "handlers").mkdir(parents=True)
    (folder / "handlers" / "shop.py").write_text("mine")
    (folder / "README.md").symlink_to("nowhere")
    (folder / "tests").write_text("a file in place of a folder")

    done = run(tmp_path, "worker", "init", "shop")

    assert (done.returncode, done.stdout) == (2, "")
    for path in ("README.md", "handlers/shop.py", "tests/test_shop.py"):
        assert path in done.stderr
    assert (folder / "handlers" / "shop.py").read_text() == "mine"
    assert sorted(one.name for one in folder.rglob("*")) == [
        "README.md",
        "handlers",
        "shop.py",
        "tests",
    ]


def test_it_may_go_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "LICENSE").write_text("mine")

    done = run(tmp_path / "shop", "worker", "init", ".")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shop" / "config" / "shop.yaml").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Shop", "'Shop' is not legal; legal are lower-case letters"),
        ("3d", "'3d' is not legal"),
        ("a_b", "'a_b' is not legal"),
        ("a--b", "'a--b' is not legal"),
        ("shop-", "'shop-' is not legal"),
        ("a" * 51, "50 at most"),
        ("../up", "'../up' is not legal"),
        ("class", "'class' is a word of Python's own"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, text: str) -> None:
    done = run(tmp_path, "worker", "init", "there", "--name", name)

    assert (done.returncode, done.stdout) == (2, "")
    assert text in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_cannot_be_asks_for_another(tmp_path: Path) -> None:
    done = run(tmp_path, "worker", "init", "My Shop")

    assert done.returncode == 2
    assert "give another with --name" in " ".join(done.stderr.split())


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    done = run(tmp_path, "worker", "init", "/proc/shop")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: /proc/shop cannot be written: ")


def test_names_stand_in_every_place() -> None:
    texts = project("a-b")

    assert "from handlers.a_b import" in texts["tests/test_a_b.py"]
    assert "name: a-b\n" in texts["config/a-b.yaml"]
