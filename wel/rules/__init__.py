"""How relevance passes a layer, rule by rule; `wel.composites` says which method uses which rule where."""
