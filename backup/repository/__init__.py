"""What is stored: chunks, manifests, catalogues, and the stores that hold them."""
