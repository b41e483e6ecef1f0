"""All routes of our own protocol."""

from itertools import chain

from bifseg.server.api import events, images, interactions, results, sessions, tasks

routes = [*chain.from_iterable(part.router.routes for part in (images, sessions, events, interactions, results, tasks))]
