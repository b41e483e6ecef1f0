"""An interaction as a stream of events."""

import json
import threading

from api_calls import API


class Events(threading.Thread):
    """An interaction as a stream of events, read in a thread."""

    def __init__(self, client, id, kind, body, **headers):
        super().__init__()
        self.got, self.first = [], threading.Event()
        self.request = client.build_request(
            "POST", f"{API}/sessions/{id}/{kind}", json=body, headers={"Accept": "text/event-stream", **headers}
        )
        self.client, self.until = client, None

    def run(self):
        answer = self.client.send(self.request, stream=True)
        try:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    self.got.append([line[7:]])
                elif line.startswith("data: "):
                    self.got[-1].append(json.loads(line[6:]))
                    if self.got[-1][0] == "round":
                        self.first.set()
                    if self.got[-1][0] == self.until:
                        break
        finally:
            answer.close()

    @property
    def names(self):
        return [name for name, _ in self.got]
