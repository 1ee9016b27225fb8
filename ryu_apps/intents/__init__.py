"""What the app of the intents is made of."""
