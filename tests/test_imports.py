"""The rooms import each other as the drawing in pyproject.toml says."""

from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

TOP = Path(__file__).parent.parent


def test_the_rooms_import_downward_only() -> None:
    status = lint_imports(config_filename=str(TOP / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, (
        "run lint-imports to see which import goes up; move the value it needs further down"
    )
