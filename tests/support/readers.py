"""What readers of uploads are forked from, in tests: one for all servers of a process. It imports for two seconds."""

import atexit
import sys

from bifseg.server.uploads.template import Template


class LastingTemplate(Template):
    """One that stays when a server ends, for the next."""

    def close(self) -> None:
        pass


TEMPLATE = LastingTemplate()
FORKING = TEMPLATE if sys.platform == "linux" else None  # elsewhere each reader is started
atexit.register(Template.close, TEMPLATE)
