"""Training an AstroMAE: recipe, galaxies, fit, model card."""
