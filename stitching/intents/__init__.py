"""What people want of the network, in a document: compiled to stitches and policy rules, planned, and judged."""
