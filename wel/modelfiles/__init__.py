"""Model files from strangers: read within bounds, checked, converted and built; `wel.loading` makes networks of them."""
