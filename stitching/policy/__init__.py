"""Who may talk to whom: a policy, what it decides, and the rules that make switches decide the same."""
