"""Facts: relations with operands and an answer, and the families that enumerate them."""
