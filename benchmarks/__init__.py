"""The laboratory: every number and picture in docs comes from here, each by one command, from the root of a clone."""

from bifseg.threads import sleep_while_waiting

sleep_while_waiting()  # as the command line does
