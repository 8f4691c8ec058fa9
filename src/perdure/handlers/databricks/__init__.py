"""Agents of a Databricks workspace: serving endpoints of every kind, Genie, the Supervisor API.

handler       one call of a serving endpoint, with whose token, in which dialect
endpoint      which dialect an endpoint speaks, and on whose behalf it wants to be asked
agent_events  ResponsesAgent: the stream read
chat          ChatAgent and Chat Completions: the stream read
traces        where a trace's id may stand
credentials   the application's own identity, through databricks-sdk
genie         a Genie space, which is polled
supervisor    the Supervisor API in the background, which is polled
"""

from perdure.handlers.databricks.credentials import Credentials
from perdure.handlers.databricks.genie import GenieHandler
from perdure.handlers.databricks.handler import DatabricksHandler
from perdure.handlers.databricks.supervisor import SupervisorHandler

__all__ = ["Credentials", "DatabricksHandler", "GenieHandler", "SupervisorHandler"]
