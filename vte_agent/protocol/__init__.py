"""What the controller and the agents of sites say to each other, and how either knows that it may believe it.

Three keys sign, each for what its holder may decide:

- the policy key, which no controller has to hold: who belongs to the overlay (`Member`, `Roll` in members.py);
- the state key of a controller, which the roll names: what an agent shall have (`Wanted` in wanted.py);
- the identity key of an agent, which its member names: its own tunnel keys (`TunnelKey` in members.py).
"""
