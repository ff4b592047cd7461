"""`python -m rangefinder`: run the pipelines of the project in the current folder."""

from __future__ import annotations

import sys
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: Any, **kwargs: Any) -> Any:
    """Run as `kedro run` does."""
    configure_project("rangefinder")
    kwargs.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    return find_run_command("rangefinder")(*args, **kwargs)


if __name__ == "__main__":
    main()
