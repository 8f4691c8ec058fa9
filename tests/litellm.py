"""The LiteLLM proxy, a real Chat Completions server that we did not write, without a model."""

from __future__ import annotations

import json
from functools import cache

from tests import early
from tests.early import Starting
from tests.world.server import free_port

PROGRAM = early.ROOT / ".tools" / "litellm" / "bin" / "litellm"
KEY = "sk-the-master-key-of-this-test"
SAID = "Grüße aus der Küche: zwölf Bücher, €5 und ein 😀. " * 20


@cache
def begun() -> tuple[Starting, str]:
    """Begin to start a proxy that always answers `SAID`, once; return its base URL, too."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    model = {"model": "openai/demo", "api_key": "x", "mock_response": SAID}
    models = {"model_list": [{"model_name": "demo", "litellm_params": model}]}
    config = early.folder() / "litellm.yaml"
    config.write_text(json.dumps(models, ensure_ascii=False))  # JSON is YAML
    command = [str(PROGRAM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command += ["--telemetry", "False"]
    return early.start("litellm", command, f"{url}/health/liveliness", env), f"{url}/v1"


def running() -> str:
    """Return the base URL of the proxy, which answers."""
    starting, url = begun()
    starting.wait()
    return url
