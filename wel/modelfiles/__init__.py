"""Model files from strangers: read within bounds, checked, converted and built; `wel.networks.loading` makes networks of them."""
