"""The edge's certificates: own CA, leaves on demand."""
