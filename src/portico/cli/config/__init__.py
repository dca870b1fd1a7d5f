"""The agent's configuration file: where it is, how it is read, what it may say, how it is changed."""
