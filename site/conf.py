"""How Sphinx builds the documentation: `make docs`. The pages are those of `docs/`."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

project = "Perdure"
author = copyright = "The Perdure authors"  # noqa: A001  # Sphinx's name for it
version = release = PROJECT["version"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"Perdure {version}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
