"""How soon switches send traffic around what died."""
