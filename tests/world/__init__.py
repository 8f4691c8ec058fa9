"""The world around a real server: its process, a scripted upstream, clients that remember, an oracle."""
