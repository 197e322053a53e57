"""Language modelling: a text file becomes tokens, tokens become batches, and the loss is the surprise at the next."""
