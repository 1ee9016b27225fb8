"""The controller's hand in the databases of its switches (OVSDB): BFD on fabric links, HTB queues on ports."""
