"""Training an AstroMAE: recipe, galaxies, fit, model card."""

import inference as inference  # before torch is loaded: it says how torch's threads wait
