"""Perdure: a chat server for LLM agents whose answers outlast the connection."""
