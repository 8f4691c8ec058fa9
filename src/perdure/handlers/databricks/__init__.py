"""Agents of a Databricks workspace: serving endpoints of every kind, and Genie spaces.

handler       one call of a serving endpoint, with whose token, in which dialect
endpoint      which dialect an endpoint speaks, and on whose behalf it wants to be asked
agent_events  ResponsesAgent: the stream read
chat          ChatAgent and Chat Completions: the stream read
traces        where a trace's id may stand
credentials   the application's own identity, through databricks-sdk
genie         a Genie space, which is polled
"""

from perdure.handlers.databricks.credentials import Credentials
from perdure.handlers.databricks.genie import GenieHandler
from perdure.handlers.databricks.handler import DatabricksHandler

__all__ = ["Credentials", "DatabricksHandler", "GenieHandler"]
