"""Apps as people write them for Ryu; the system tests host them."""
