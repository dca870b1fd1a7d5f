"""`portico service`: the agent as a service of the operating system, started at boot and after a crash."""
