"""The simulated LLM with habits of a test's own, in a thread of this process."""

import json
import socket
import threading

from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.llm import connect
from askonce.pipeline.simulated.serve import SimulatedServer


class Server(SimulatedServer):
    """Keeps what it was asked for completions; a function sees each request first, with its number, and may answer in its
    place."""

    def __init__(self, instead=lambda request, number: None, **settings):
        super().__init__(**settings)
        self.instead, self.requests, self.lock = instead, [], threading.Lock()

    def respond(self, method, path, headers, body):
        if not path.endswith("/chat/completions"):
            return super().respond(method, path, headers, body)
        with self.lock:
            self.requests.append(json.loads(body))
            number = len(self.requests)
        return self.instead(self.requests[number - 1], number) or super().respond(method, path, headers, body)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ask_all(llm, jobs, terms=Terms(), stop=None, tally=None):
    """Events one by one, over a connection of its own."""
    with connect(llm, terms, tally) as asker:
        for events in asker.ask(jobs, stop):
            yield from events
