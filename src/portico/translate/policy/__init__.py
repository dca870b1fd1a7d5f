"""Pure: traffic policies as what Envoy runs."""
