"""A workspace that is not there: Model Serving, its tokens and Genie, exact on the wire.

Real HTTP on loopback, in the test's own event loop: whoever blocks it (databricks-sdk would) never
gets an answer. `workspace` is the server, `frames` what agents of each kind send.
"""

from tests.databricks.workspace import Answer, Asked, Workspace, working

__all__ = ["Answer", "Asked", "Workspace", "working"]
