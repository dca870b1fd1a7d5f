"""The process beside the upstream: holds a session, serves its binds, dials the upstream."""
