"""The domain: what is wanted, what is allowed, and the flow rules that make it so. Values in, values out."""
