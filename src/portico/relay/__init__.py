"""Agent sessions and their streams become Unix sockets that Envoy uses as addresses."""
