from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.rig import SPEC, shop, worker


def test_files_that_are_fine_are_listed(tmp_path: Path) -> None:
    shop(tmp_path)

    assert worker("validate", "shop.yaml", folder=tmp_path) == (0, "shop.yaml: ok\n", "")


def test_all_problems_of_all_files_are_printed_and_the_good_file_is_listed(tmp_path: Path) -> None:
    shop(tmp_path)
    (tmp_path / "typo.yaml").write_text(SPEC.replace("name: shop", "nme: shop"))
    (tmp_path / "lost.yaml").write_text(SPEC.replace("handler: large", "handler: larg"))

    code, out, err = worker("validate", "shop.yaml", "typo.yaml", "lost.yaml", folder=tmp_path)

    assert (code, out) == (78, "shop.yaml: ok\n")
    assert "typo.yaml:2:1: nme: " in err
    assert "did you mean 'large'?" in err
    assert all(line.startswith(("typo.yaml:", "lost.yaml:")) for line in err.splitlines())


@pytest.mark.parametrize(("output", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_the_problems_as_a_list(
    tmp_path: Path, output: str, parse: Callable[[str], Any]
) -> None:
    shop(tmp_path)
    (tmp_path / "typo.yaml").write_text(SPEC.replace("name: shop", "nme: shop"))

    fine = worker("validate", "shop.yaml", "--output", output, folder=tmp_path)
    code, out, err = worker(
        "validate", "shop.yaml", "typo.yaml", "--output", output, folder=tmp_path
    )

    assert (fine[0], parse(fine[1]), fine[2]) == (0, [], "")
    assert (code, err) == (78, "")
    problems = parse(out)
    typo = next(one for one in problems if one["path"] == "nme")
    assert {one["file"] for one in problems} == {"typo.yaml"}
    assert (typo["line"], typo["column"]) == (2, 1)
    assert typo["message"] == "no such key; did you mean `name`?"


def test_handlers_are_found_in_the_folders_given(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "handlers", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    file = shop(folder)

    assert worker("validate", file, folder=elsewhere)[0] == 78
    assert worker("validate", file, "--path", folder, folder=elsewhere)[0] == 0
    assert worker("validate", file, folder=elsewhere, WORKER_PATH=str(folder))[0] == 0


def test_each_spec_is_judged_by_its_own_handlers(tmp_path: Path) -> None:
    shop(tmp_path)
    code = "from worker import handler\n\n@handler\ndef {}(order: dict) -> None: ...\n"
    (tmp_path / "other.py").write_text(code.format("double"))
    same = SPEC.replace("shop_handlers", "other").replace("handler: large", "handler: double")
    (tmp_path / "same.yaml").write_text(same)
    (tmp_path / "borrowed.yaml").write_text(SPEC.replace("shop_handlers", "other"))

    files = ("shop.yaml", "same.yaml", "borrowed.yaml")
    status, out, err = worker("validate", *files, folder=tmp_path)

    assert (status, out) == (78, "shop.yaml: ok\nsame.yaml: ok\n")
    assert "borrowed.yaml:7:26: pipelines.large.handler: no handler is named 'large'" in err
    assert len(err.splitlines()) == 1


def test_a_module_that_ends_the_process_does_not_keep_the_other_files_from_being_checked(
    tmp_path: Path,
) -> None:
    shop(tmp_path)
    (tmp_path / "deadly.py").write_text("import os\nos._exit(0)\n")
    (tmp_path / "deadly.yaml").write_text(SPEC.replace("shop_handlers", "deadly"))

    code, out, err = worker("validate", "deadly.yaml", "shop.yaml", folder=tmp_path)

    assert (code, out) == (78, "shop.yaml: ok\n")
    assert err == (
        "deadly.yaml:1:1: handlers: a module of its handlers ends the process when it is imported\n"
    )


def test_the_schema_is_json_and_names_every_key_of_a_spec(tmp_path: Path) -> None:
    code, out, err = worker("schema", folder=tmp_path)

    assert (code, err) == (0, "")
    assert {"kafka", "handlers", "pipelines", "topics"} <= json.loads(out)["properties"].keys()
