"""Adapters of the port `Handler`: one module per dialect of agent. They know no store or stream."""
