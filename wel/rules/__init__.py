"""How relevance passes a layer, rule by rule; `wel.methods.composites` says which method uses which rule where."""
