"""Pure: model values become Envoy resources as plain dicts. Envoy's words live only here and in `envoy`."""
