"""Start an answer in the background, lose the connection in the middle, and come back."""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("PERDURE_V1", "http://127.0.0.1:8000/v1"), api_key="unused")
model = os.environ.get("MODEL", "guide")
question = "What happens when I close the tab?"

stream = client.responses.create(model=model, input=question, background=True, stream=True)
seen, response_id = -1, ""
for event in stream:
    seen = event.sequence_number
    if event.type == "response.created":
        response_id = event.response.id
    if event.type == "response.output_text.delta":
        sys.stdout.write(event.delta)
        break  # the train enters a tunnel
stream.close()

for event in client.responses.retrieve(response_id, stream=True, starting_after=seen):
    if event.type == "response.output_text.delta":
        sys.stdout.write(event.delta)

whole = client.responses.retrieve(response_id)
sys.stdout.write(f"\n{whole.id} is {whole.status}\n")
