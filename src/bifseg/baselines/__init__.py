"""Other people's methods behind the same protocol, to compare with."""
