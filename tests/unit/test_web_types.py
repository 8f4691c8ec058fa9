"""The page's types of the API are those that this server has."""

import subprocess

import msgspec

from perdure import create_app
from perdure.settings import Settings
from scripts import web

GENERATED = web.WEB / "src" / "core" / "api.gen.ts"
# The same as `npm run api` does: perdure openapi | npm run api
FLAGS = ["--root-types", "--root-types-no-schema-prefix", "--alphabetize"]


def test_the_generated_types_are_current(tmp_path):
    """Otherwise: `perdure openapi | python scripts/web.py run api`."""
    document, fresh = tmp_path / "openapi.json", tmp_path / "api.gen.ts"
    app = create_app(settings=Settings(data_dir=tmp_path))
    document.write_bytes(msgspec.json.encode(app.openapi()))
    node = web.find_node()
    tool = web.WEB / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    command = [node / "bin" / "node", tool, document, "--output", fresh, *FLAGS]
    subprocess.run(command, check=True, capture_output=True, cwd=web.WEB)
    assert fresh.read_text("utf-8") == GENERATED.read_text("utf-8")
