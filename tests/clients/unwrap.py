"""Checks a webhook with the official Python client, any version; told on the standard input."""

import json
import sys

import openai

given = json.loads(sys.stdin.readline())
client = openai.OpenAI(api_key="x", webhook_secret=given["secret"])
event = client.webhooks.unwrap(given["body"], given["headers"])
try:
    client.webhooks.unwrap(given["body"] + " ", given["headers"])
    changed = "accepted"
except openai.InvalidWebhookSignatureError:
    changed = "refused"
sys.stdout.write(
    json.dumps({"unwrapped": [event.type, getattr(event.data, "id", ""), changed]}) + "\n"
)
