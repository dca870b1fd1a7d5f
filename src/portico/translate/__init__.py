"""Pure: model values become Envoy resources, one file per concern."""
