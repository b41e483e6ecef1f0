"""The protocol of MONAI Label's server."""
