"""The server under load and kills, and with the clients of others."""
