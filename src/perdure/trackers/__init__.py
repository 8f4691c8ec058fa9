"""Adapters of the port `Tracker`: where agents keep the traces of their answers."""
