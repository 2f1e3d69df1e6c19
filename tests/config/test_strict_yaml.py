"""YAML scalars as people expect them, and hostile files refused in one line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbpo_fast.config.strict_yaml import MAX_BYTES, dump_yaml, parse_scalar, read_yaml
from mbpo_fast.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("1_000_000", 1_000_000),
        ("1e6", 1_000_000),
        ("2E+3", 2000),
        ("010", "010"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("1:30", "1:30"),
        ("1e-4", 1e-4),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("-1.", -1.0),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("2024-01-01", "2024-01-01"),
        ("ALE/Pong-v5", "ALE/Pong-v5"),
        ("[1, 2.0, a]", [1, 2.0, "a"]),
        ("'1'", "1"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    parsed = parse_scalar(text, "--key")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"a: 1\nb: [", ":2:5"),
        (b"a: 1\na: 2", ":2:1: duplicate key 'a'"),
        (b"x: &a [1]\ny: *a", ":2:4: aliases"),
        (b"x: &a {b: 1}\ny:\n  <<: *a", ":3:7: aliases"),
        (b"[" * 5000, ":1:21: nested too deeply"),
        (b"a: " + b"{b: " * 5000, "nested too deeply"),
        (b"x: !!python/object/apply:os.system [id]", ":1:4: could not determine a constructor"),
        (b"1: 2", ":1:1: expected a name"),
        (b"null: 2", ":1:1: expected a name"),
        (b"? [a]\n: 2", "expected a name"),
        (b"- 1", ": expected settings"),
        (b"hello", ": expected settings"),
        (b"a: 1\n---\nb: 2", "another document"),
        (b"a: \x00", ": not YAML"),
        (b"a: \xff", ": expected UTF-8"),
        (b"#" * (MAX_BYTES + 1), ": expected at most"),
        (b"\ta: 1", ":1:1"),
    ],
)
def test_bad_files_are_one_line_that_names_the_place(tmp_path: Path, content: bytes, where: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read_yaml(tmp_path / "x.yaml", "x.yaml")
    message = str(raised.value)
    assert message.startswith("x.yaml")
    assert where in message
    assert "\n" not in message
    assert len(message) < 200


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^x\.yaml: No such file or directory$"):
        read_yaml(tmp_path / "x.yaml", "x.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        read_yaml(tmp_path, "x.yaml")


def test_an_empty_file_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "x.yaml", "x.yaml") == {}


texts = st.text(st.sampled_from("ab1e+-._:#'\"[]{}~&*!|> \n\té\u2028"), max_size=8)
numbers = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
hard = st.sampled_from(
    ["yes", "010", "1e5", "1e-5", ".5", "true", "null", "", "~", "1_0", "0x1", "- a", "a: b"]
)
leaves = st.none() | st.booleans() | numbers | texts | hard


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abc"),
        leaves | st.lists(leaves, max_size=3) | st.dictionaries(texts.filter(bool), leaves, max_size=2),
    )
)
def test_what_is_dumped_reads_back_the_same(tmp_path_factory: Any, tree: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(dump_yaml(tree), encoding="utf-8")
    again = read_yaml(path, "round.yaml")
    assert again == tree
    assert repr(again) == repr(tree)
