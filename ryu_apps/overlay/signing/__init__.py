"""The signer: a process of its own that holds the policy key and alone decides who is a member."""
