from __future__ import annotations

import json
from dataclasses import fields
from urllib.parse import quote, quote_plus, urlencode

import pytest

from worker.flow.health import PipelineState, Snapshot
from worker.flow.redaction import HIDDEN, Redaction, shown

SECRET = "c4n4ry-s3cr3t"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sasl.password=hunter22, next", "sasl.password=***, next"),
        ("PASSWORD = 'hunter22'", "PASSWORD = '***'"),
        ("http://user:hunter22@host/path", "http://user:***@host/path"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("api_key=abc&x=1", "api_key=***&x=1"),
        ("broker://host:9092/path", "broker://host:9092/path"),
        ('{"password": "hunter 22", "a": 1}', '{"password": "***", "a": 1}'),
        (r'"{\"password\": \"hunter 22\", \"a\": 1}"', r'"{\"password\": \"***\", \"a\": 1}"'),
        ("{'password': 'hunter\\'22', 'a': 1}", "{'password': '***', 'a': 1}"),
        ("password: hunter22", "password: ***"),
        ("password => 'hunter22'", "password => '***'"),
        ("AWS_SECRET_ACCESS_KEY=hunter22 x", "AWS_SECRET_ACCESS_KEY=*** x"),
        ("password='a b c' user", "password='***' user"),
        ("password='a b c", "password='***"),
        ("token=a,b", "token=***"),
        ("token=a,user=b", "token=***,user=b"),
        ("http://user:a,b@host", "http://user:***@host"),
        ("Server=db;Uid=me;Pwd=hunter22;", "Server=db;Uid=me;Pwd=***;"),
        ("credential=hunter22, credentials: 'a b'", "credential=***, credentials: '***'"),
        ("{'client_secret': ['a1', 'b2'], 'a': ['1']}", "{'client_secret': [***], 'a': ['1']}"),
        ('{"token": ["a1"]}', '{"token": [***]}'),
        ("CREATE USER me PASSWORD 'hunter 22' LOGIN", "CREATE USER me PASSWORD '***' LOGIN"),
        ("AUTH PASSWORD hunter22 done", "AUTH PASSWORD *** done"),
        ("login --db-password hunter22 --user me", "login --db-password *** --user me"),
        ("cd $OLDPWD; cwd=/tmp oldpwd=/srv", "cd $OLDPWD; cwd=/tmp oldpwd=/srv"),
        ("pass=hunter22 user=me", "pass=*** user=me"),
        ('{"pass": "hunter 22"}', '{"pass": "***"}'),
        ("bypass=yes; compass: north, passes: 3", "bypass=yes; compass: north, passes: 3"),
        ("Cookie: session=abc; theme=dark\nHost: a", "Cookie: ***\nHost: a"),
        ("{'set-cookie': 'session=abc; Path=/', 'a': 1}", "{'set-cookie': '***', 'a': 1}"),
        ('Cookie: sid="abc"; t=1\r\nHost: a', "Cookie: ***\r\nHost: a"),
        (r"b'Cookie: sid=abc\r\nHost: a'", r"b'Cookie: ***\r\nHost: a'"),
        ("{b'cookie': b'sid=abc', 'a': 1}", "{b'cookie': b'***', 'a': 1}"),
        (r'"{\"cookie\": \"sid=abc\", \"a\": 1}"', r'"{\"cookie\": \"***\", \"a\": 1}"'),
        ("[('Set-Cookie', 'sid=abc'), ('a', '1')]", "[('Set-Cookie', '***'), ('a', '1')]"),
        ("a cookie of 5 bytes", "a cookie of 5 bytes"),
        ("DB_PASS=hunter22 MYSQL_PWD=hunter23", "DB_PASS=*** MYSQL_PWD=***"),
        ("an eyJhbGciOi..aXYK.Y2lw.dGFn of JWE", "an eyJ*** of JWE"),
        ("refused eyJhbGciOi.eyJzdWIi.c2ln-_x here", "refused eyJ*** here"),
        ("eyJustOne.part", "eyJustOne.part"),
        ("of AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE.", "of AKIA*** and ASIA***."),
        (
            "ASIA and AKIASHORT, MALAKIAIOSFODNN7EXAMPLE",
            "ASIA and AKIASHORT, MALAKIAIOSFODNN7EXAMPLE",
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: A\n\nab+/=\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
        ),
        ("-----BEGIN PRIVATE KEY-----\\nMIIE", "-----BEGIN PRIVATE KEY-----***"),
        ("the password is wrong", "the password is wrong"),
        ("--token --user me", "--token --user me"),
        ("secrets: [{'name': 'a'}]", "secrets: [{'name': 'a'}]"),
        ("tokens: 5, max_tokens=5", "tokens: 5, max_tokens=5"),
        ('{"secret": {"a": 1}}', '{"secret": {"a": 1}}'),
        ("token is invalid", "token is invalid"),
        ("a basic idea", "a basic idea"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else_is(text: str, shown: str) -> None:
    assert Redaction()(text) == shown


def test_a_secret_within_a_longer_one_hides_neither_half_of_it() -> None:
    assert Redaction(["secret", "secret-long", "abc"])("secret-long abc secret") == "*** abc ***"


@pytest.mark.parametrize(
    ("length", "shown"),
    [(3, "a s"), (4, "a s***"), (9, "a s*** "), (12, "a s*** s***"), (99, "a s*** s*** b")],
)
def test_of_a_beginning_no_part_of_a_secret_is_left(length: int, shown: str) -> None:
    assert Redaction(["ecret"]).beginning("a secret secret b", length) == shown


@pytest.mark.parametrize(
    "secret", ['can\\ary"x9Q', "can'ary\nx9Q", "can'\"ary\x1bx9Q", "canäry/x 9Q", "can\udc80ary"]
)
def test_a_secret_is_hidden_in_every_way_of_writing_a_text(secret: str) -> None:
    redacted = Redaction([secret])
    forms = [
        secret,
        f"{secret!r}",
        repr(f"it's {secret}"),
        repr(f'a "word", {secret}'),
        repr({"it's": KeyError(secret)}),
        str(KeyError(secret)),
        json.dumps([secret]),
        json.dumps([secret], ensure_ascii=False),
        json.dumps({"body": json.dumps([secret])}),
        quote(secret, errors="surrogatepass"),
        quote(secret, safe="", errors="surrogatepass"),
        quote_plus(secret, errors="surrogatepass"),
        urlencode({"a": secret}, errors="surrogatepass"),
    ]

    hidden = [redacted.of_known(form) for form in forms]

    assert [text.count(HIDDEN) for text in hidden] == [1] * len(forms), hidden
    assert "can" not in "".join(hidden)


def test_what_a_worker_says_in_words_is_shown_without_secrets() -> None:
    """Each field of a text, so that one which is added later is none that shows them."""
    texts = {one.name: f"no: {SECRET}" for one in fields(PipelineState) if one.type == "str | None"}
    state = PipelineState("pipeline", "group", "failed", **texts)  # type: ignore[arg-type]

    found = shown(
        Snapshot("spec", "1", 0.0, 0.0, starting=SECRET, pipelines=(state,)), Redaction([SECRET])
    )

    assert SECRET not in repr(found)
    assert repr(found).count(HIDDEN) == len(texts) + 1
    assert len(texts) > 5


def test_what_is_known_is_hidden_alone_where_words_are_ours() -> None:
    text = f"kafka.security.password: {SECRET} is not legal"

    assert Redaction([SECRET]).of_known(text) == "kafka.security.password: *** is not legal"
    assert Redaction().of_known(text) == text
