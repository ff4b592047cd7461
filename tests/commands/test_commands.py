"""The `rangefinder` command: help without heavy imports, errors without tracebacks."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from rangefinder.commands import BAD_INPUT, COMMANDS, main, patch_px_of
from rangefinder.config import Parameters

from .. import custom_networks


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_has_help(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["juggle"])
    assert result.exit_code == BAD_INPUT
    assert "juggle" in result.output


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\n"
        "from rangefinder.commands import main\n"
        f"main([*{command}, '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'kedro', 'mlflow', 'lightning', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_patch_is_that_of_the_network_that_is_trained() -> None:
    own = f"{custom_networks.__name__}:{custom_networks.Pooled.__name__}"
    raw = {"teacher": {"network": own}, "student": {"sharing": "none"}}
    assert patch_px_of(Parameters.model_validate(raw)) == custom_networks.Pooled.patch_px
    assert patch_px_of(Parameters()) == 57
