"""What there is of the fabric and how it is found out; ryu_apps.discovery is the app that this runs in."""
