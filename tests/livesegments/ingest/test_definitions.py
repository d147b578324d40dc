"""SOURCES.toml: its contents, and the reasons to reject it."""

from pathlib import Path

import pytest

from livesegments.ingest.definitions import SourcesError, load

SOURCE = 'topic = "t"\ninto = "purchases"\nquery = "SELECT 1 FROM source"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "SOURCES.toml"
    path.write_text(text)
    return path


def test_queries_and_tables_are_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "orders.sql").write_text("SELECT 2 FROM source")
    (tmp_path / "rates.csv").write_text("a,b\n")
    path = write(
        tmp_path,
        '[[source]]\nname = "orders"\ntopic = "t"\ninto = "purchases"\nquery = "orders.sql"\n'
        f'[[source]]\nname = "other"\n{SOURCE}[[table]]\nname = "rates"\nfile = "rates.csv"\n',
    )
    sources = load(path)
    assert [each.query for each in sources.source] == [
        "SELECT 2 FROM source",
        "SELECT 1 FROM source",
    ]
    assert sources.table[0].file == tmp_path / "rates.csv"
    assert [each.name for each in sources.named(["other"])] == ["other"]
    with pytest.raises(SourcesError, match="no source 'x'; there are orders, other"):
        sources.named(["x"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"\[\[source\]\]: is missing"),
        ("[source]", r"write \[\[source\]\], with two brackets"),
        ("[[sources]]", "sources: no such field, did you mean source?"),
        ("[[source]", "not TOML"),
        (f'[[source]]\nname = "A b"\n{SOURCE}', "1: name: 'A b' must be lower-case letters"),
        (
            f'[[source]]\nname = "a"\nformats = "json"\n{SOURCE}',
            "1: formats: no such field, did you mean format?",
        ),
        (
            f'[[source]]\nname = "a"\nformat = "xml"\n{SOURCE}',
            "1: format: 'xml' must be 'json'.*",
        ),
        (
            f'[[source]]\nname = "a"\n{SOURCE}[schema_registry]\nurl = "registry:8081"\n',
            r"\[schema_registry\]: url: 'registry:8081' must be an address .* http",
        ),
        (
            f'[[source]]\nname = "a"\n{SOURCE}[schema_registry]\nurl = "https://me:pw@registry"\n',
            r"\[schema_registry\]: url: holds a user or a password: write username",
        ),
        (f'[[source]]\nname = "a"\nformat = "avro"\n{SOURCE}', r"add \[schema_registry\]"),
        (f'[[source]]\nname = "a"\n{SOURCE}' * 2, "two of .* named 'a'"),
        (
            '[[source]]\nname = "a"\ntopic = "t"\ninto = "purchases"\nquery = "no.sql"\n',
            "query of source 'a': .*no.sql: No such file",
        ),
        (
            f'[[source]]\nname = "a"\n{SOURCE}[[table]]\nname = "r"\nfile = "no.csv"\n',
            "file of table 'r': .*no such file",
        ),
        (
            f'[[source]]\nname = "a"\n{SOURCE}[[table]]\nname = "source"\nfile = "no.csv"\n',
            "choose another name",
        ),
    ],
)
def test_a_fault_is_named_with_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SourcesError, match=said) as raised:
        load(write(tmp_path, text))
    assert str(raised.value).startswith(str(tmp_path / "SOURCES.toml"))
