"""Baseline C: FastAPI and the official openai client, each chunk decoded and encoded again."""

import os
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
