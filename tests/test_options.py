"""Command lines with flags and paths in any order."""

from pathlib import Path
from typing import Annotated

import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from vehicle_lightning.cli import parse_options
from vehicle_lightning.config import SettingsGroup
from vehicle_lightning.errors import SettingsError


class Options(SettingsGroup):
    """Those of a command."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = Field((), description="Paths.")
    batch_size: int = Field(1, ge=1, description="A number.")
    output: Path | None = Field(None, description="A file.")
    strict: bool = Field(False, description="A switch.")
    mirrored: tyro.conf.FlagCreatePairsOff[bool] = Field(False, description="One to switch on.")


FLAGS = [
    ["--batch-size", "7"],
    ["--output=out put.csv"],
    ["--no-strict"],
    ["--mirrored"],
]
PATHS = [["a"], ["b.png"], ["logs/x/0"]]


@given(st.permutations([*FLAGS, *PATHS]))
def test_every_order_means_the_same(parts: list[list[str]]) -> None:
    options = parse_options(Options, "command", [word for part in parts for word in part])
    assert options == Options(
        paths=tuple(Path(part[0]) for part in parts if part in PATHS),
        batch_size=7,
        output=Path("out put.csv"),
        mirrored=True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["a", "--strct", "b"], "--strict"), (["--batch-size"], "--batch-size")],
)
def test_a_wrong_flag_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_options(Options, "command", arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_value_out_of_range() -> None:
    with pytest.raises(SettingsError, match="batch_size"):
        parse_options(Options, "command", ["a", "--batch-size", "0"])
