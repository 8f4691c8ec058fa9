"""The world around a real server: its process, an upstream, clients that remember, an oracle."""
