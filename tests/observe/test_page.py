from __future__ import annotations

import base64
import hashlib
import re

from worker.observe.page import page_html, policy_of


def test_the_policy_names_the_pages_own_style_and_script_and_its_own_worker_only() -> None:
    page = b"<style>b{}</style><script>\nf()\n</script>"
    script = base64.b64encode(hashlib.sha256(b"\nf()\n").digest()).decode()

    policy = policy_of(page)

    assert f"script-src 'sha256-{script}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_page_is_one_file_that_asks_for_nothing_from_elsewhere() -> None:
    page = page_html().decode()

    assert re.findall(r"https?://[^\"' ]+", page) == ["http://www.w3.org/2000/svg"]
    assert "innerHTML" not in page
    assert len(page) < 60_000
