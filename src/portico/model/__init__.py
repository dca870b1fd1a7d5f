"""Pure: the words of Portico as immutable values with their rules."""
